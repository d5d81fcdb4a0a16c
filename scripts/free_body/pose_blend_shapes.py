"""Pose blend shapes: what 24 joints must add to come close to anny's 104 bones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies
from scripts.free_body.kinematics import (
    Array,
    blend_transforms,
    chain_translations,
    rotate,
    rotvec_to_rotmat,
    skin,
    world_rotations,
)
from scripts.free_body.skeleton import JOINT_INDEX, JOINT_PARENTS, SIDES, joint_of_each_bone
from scripts.free_body.t_pose import reduce_vertices, t_pose_rotations, t_posed

FEATURES = 9 * (len(JOINT_PARENTS) - 1)
_RIDGE = 1.0
_THRESHOLD_M = 0.0005
# Bone, whose twist it takes or leaves, the joint it hangs on, and the share of the twist.
_TWISTED_BONES = (
    ("upperarm01", "shoulder", "shoulder", -0.5),
    ("lowerarm02", "wrist", "elbow", 0.5),
)


@dataclass(frozen=True)
class Rig:
    """What both posings share.

    reduction: (V, V_anny); skin_weights: (V, 24); joint_regressor: (24, V).
    """

    source: AnnySource
    reduction: sparse.csr_array
    skin_weights: sparse.csr_array
    joint_regressor: Array


def pose_features(local: Array) -> Array:
    """SMPL's pose features (N, 207): local rotations (N, 24, 3, 3) minus identity, no root."""
    return (local[:, 1:] - np.eye(3)).reshape(len(local), -1)


def pose_with_anny(rig: Rig, rest: RestBodies, local: Array) -> Array:
    """Vertices (N, V, 3) of A-posed bodies, posed bone by bone through anny's own rig.

    Bones follow the joint that they stand for, except that the upper arm's first bone takes
    half of the shoulder's twist and the forearm's second bone half of the wrist's, as flesh
    does; these turn about their own heads and leave the bones below where they are. The
    pelvis joint is at the origin.
    """
    source = rig.source
    joint_world = world_rotations(local, JOINT_PARENTS)
    t_pose = t_pose_rotations(rest.bone_heads, source.bone_labels)
    world = joint_world[:, joint_of_each_bone(source.bone_labels)] @ t_pose
    translations = chain_translations(world, rest.bone_heads, source.bone_parents)
    heads = rotate(world, rest.bone_heads) + translations
    for suffix, side in SIDES.items():
        for bone, joint, followed, share in _TWISTED_BONES:
            index = source.bone_labels.index(f"{bone}.{suffix}")
            twist = rotvec_to_rotmat(share * _twist(local[:, JOINT_INDEX[f"{side}_{joint}"]]))
            followed_world = joint_world[:, JOINT_INDEX[f"{side}_{followed}"]]
            world[:, index] = followed_world @ twist @ t_pose[:, index]
            turned_head = rotate(world[:, index], rest.bone_heads[:, index])
            translations[:, index] = heads[:, index] - turned_head
    vertices = skin(rest.vertices, source.skin_weights, world, translations)
    pelvis = rest.bone_heads[:, :1]  # the root bone's head, which stays in place
    return reduce_vertices(rig.reduction, vertices - pelvis)


def pose_with_smpl(rig: Rig, template: Array, posedirs: Array, local: Array) -> Array:
    """Vertices (N, V, 3) by SMPL's rule, for rest bodies (N, V, 3) and posedirs (V, 3, 207)."""
    joints = rig.joint_regressor @ template
    world = world_rotations(local, JOINT_PARENTS)
    offsets = np.einsum("vcp,np->nvc", posedirs, pose_features(local), optimize=True)
    translations = chain_translations(world, joints, JOINT_PARENTS)
    return skin(template + offsets, rig.skin_weights, world, translations)


def fit_pose_blend_shapes(rig: Rig, rest: RestBodies, local: Array) -> Array:
    """Posedirs (V, 3, 207) from bodies (N) in poses (N, 24, 3, 3), sparse per vertex.

    A ridge regression of the offsets that SMPL's skinning lacks; features that move a vertex
    by less than half a millimetre are dropped and the others fitted again.
    """
    count = rig.reduction.shape[0]
    gram = _RIDGE * np.eye(FEATURES)
    moments = np.zeros((FEATURES, count * 3))
    for part in np.array_split(np.arange(len(local)), max(1, len(local) // 20)):
        bodies = RestBodies(rest.vertices[part], rest.bone_heads[part])
        features = pose_features(local[part])
        gram += features.T @ features
        moments += features.T @ _missing_offsets(rig, bodies, local[part]).reshape(len(part), -1)
    moments = moments.reshape(FEATURES, count, 3)
    near = np.repeat(_nearby_joints(rig.skin_weights)[:, 1:], 9, axis=1)
    posedirs = np.zeros((count, 3, FEATURES))
    for vertex in range(count):
        posedirs[vertex] = _solve(gram, moments[:, vertex], near[vertex])
        strong = np.linalg.norm(posedirs[vertex], axis=0) > _THRESHOLD_M
        posedirs[vertex] = _solve(gram, moments[:, vertex], strong)
    return posedirs


def _nearby_joints(skin_weights: sparse.csr_array) -> npt.NDArray[np.bool_]:
    """Mask (V, 24): the joints that skin a vertex, with their parents and children."""
    adjacent = np.eye(len(JOINT_PARENTS), dtype=bool)
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            adjacent[joint, parent] = adjacent[parent, joint] = True
    near: npt.NDArray[np.bool_] = (skin_weights @ adjacent.astype(float)) > 0
    return near


def _solve(gram: Array, moments: Array, kept: npt.NDArray[np.bool_]) -> Array:
    """Ridge solution (3, 207) of one vertex with moments (207, 3), zero where not kept."""
    solution = np.zeros(moments.shape[::-1])
    solution[:, kept] = np.linalg.solve(gram[np.ix_(kept, kept)], moments[kept]).T
    return solution


def _missing_offsets(rig: Rig, rest: RestBodies, local: Array) -> Array:
    """Rest-pose offsets (N, V, 3) with which SMPL's skinning gives anny's posed vertices."""
    template = reduce_vertices(rig.reduction, t_posed(rig.source, rest).vertices)
    world = world_rotations(local, JOINT_PARENTS)
    translations = chain_translations(world, rig.joint_regressor @ template, JOINT_PARENTS)
    blended = blend_transforms(rig.skin_weights, world, translations)
    posed = pose_with_anny(rig, rest, local) - blended[..., 3]
    offsets: Array = np.linalg.solve(blended[..., :3], posed[..., None])[..., 0] - template
    return offsets


def _twist(rotations: Array) -> Array:
    """The part about the x axis (N, 3) of the rotation vectors of rotations (N, 3, 3)."""
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine_x = (rotations[..., 2, 1] - rotations[..., 1, 2]) / 2
    twist = np.zeros((len(rotations), 3))
    twist[:, 0] = sine_x * angle / np.maximum(np.sin(angle), 1e-9)
    return twist
