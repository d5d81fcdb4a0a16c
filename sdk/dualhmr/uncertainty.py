"""How far a body may be off, from how far two networks and the keypoints disagree on it.

The pseudo mesh is a second opinion of the same person. A point's uncertainty is its distance to the
same point of the pseudo mesh, both with the pelvis at the origin, plus the mean distance of the
body's keypoints to the observed ones, at the body's depth; both in metres, times one factor.

What both networks get wrong alike cannot be seen: how far away and how large a person is, a depth
that the keypoints do not tell, a detector's keypoints on somebody else.
docs/results/accuracy.md has how well it predicts errors.
"""

import numpy as np

from dualhmr.body.arrays import BodyArrays
from dualhmr.body.posing import pose_arrays
from dualhmr.person import FloatArray

CALIBRATION = 1.26
"""So that the mean over training people is the mean error of their joints: one number for all."""


def joint_uncertainty(
    joints: FloatArray, pseudo_joints: FloatArray, keypoint_distance: FloatArray
) -> FloatArray:
    """(P, 24) metres, of joints and pseudo meshes' joints (P, 24, 3), wherever they are.

    `keypoint_distance` (P,) metres: see `keypoint_distance_m`.
    """
    return _uncertainty(
        joints - joints[:, :1], pseudo_joints - pseudo_joints[:, :1], keypoint_distance
    )


def vertex_uncertainty(
    body: BodyArrays,
    vertices: FloatArray,
    joints: FloatArray,
    pseudo_rotations: FloatArray,
    pseudo_betas: FloatArray,
    keypoint_distance: FloatArray,
) -> FloatArray:
    """(P, V) metres: as `joint_uncertainty`, of meshes (P, V, 3) and their joints (P, 24, 3)."""
    pseudo, pseudo_joints = pose_arrays(body, pseudo_rotations, pseudo_betas)
    return _uncertainty(vertices - joints[:, :1], pseudo - pseudo_joints[:, :1], keypoint_distance)


def keypoint_distance_m(
    distance_px: FloatArray, joints: FloatArray, focal_length: FloatArray
) -> FloatArray:
    """(P,) metres that distances (P,) in image pixels are at the depth of the pelvis.

    `joints` (P, 24, 3) in the camera frame, `focal_length` (P,) pixels.
    """
    return distance_px * np.abs(joints[:, 0, 2]) / focal_length


def _uncertainty(points: FloatArray, others: FloatArray, common: FloatArray) -> FloatArray:
    distance: FloatArray = np.linalg.norm(points - others, axis=-1)
    return np.float32(CALIBRATION) * (distance + common[:, None])
