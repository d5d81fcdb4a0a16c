"""Linear blend skinning in NumPy, without gradients.

The formulas and conventions are those of `dualhmr.body.model`; a test compares the two. What is
constant for a body is computed once. Vertices lie in planes, one for each coordinate, so that
memory is read in order.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT, POSE_FEATURE_COUNT, BodyArrays, FloatArray

_SPARSE = 0.3
"""Where fewer than this share of the pose corrections are not zero, they are stored joint by joint,
for those coordinates alone that the joint moves. SMPL's are dense, the free body's are local."""


class _Corrections(NamedTuple):
    """How far some of the 207 numbers of the pose feature displace the vertices."""

    features: slice
    coordinates: npt.NDArray[np.int64] | slice
    """Which of the 3 V coordinates they displace, plane after plane."""
    directions: FloatArray
    """(features, coordinates)."""


class BodyPoser:
    """Poses one body."""

    def __init__(self, body: BodyArrays) -> None:
        """Computes what is constant."""
        self._parents = body.parents
        shapes = np.concatenate([body.v_template[..., None], body.shapedirs], axis=-1)
        self._joint_basis = np.einsum("jv,vcb->bjc", body.joint_regressor, shapes)
        """(1 + B, 24, 3): rest joints for 1 and each beta."""
        self._shape_basis = shapes.transpose(2, 1, 0).reshape(shapes.shape[-1], -1)
        """(1 + B, 3 V): rest vertices likewise."""
        corrections = body.posedirs.transpose(2, 1, 0).reshape(POSE_FEATURE_COUNT, -1)
        self._corrections = _corrections(corrections)
        self._weights = np.ascontiguousarray(body.weights.T)
        """(24, V)."""

    def __call__(self, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `pose_arrays`."""
        posed = np.empty((len(rotations), self._weights.shape[1], 3), rotations.dtype)
        joints = np.empty((len(rotations), JOINT_COUNT, 3), rotations.dtype)
        # One after the other: products of larger matrices would round a body's numbers otherwise
        # if there are others.
        for person in range(len(rotations)):
            posed[person], joints[person] = self._pose(rotations[person], betas[person])
        return posed, joints

    def _pose(self, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
        weights = np.concatenate([np.ones_like(betas[:1]), betas])
        rest = np.tensordot(weights, self._joint_basis, axes=1)
        world, joints = self._chain(rotations, rest)
        # A vertex x moves with joint j to G_j (x - rest_j) + joint_j = G_j x + shift_j.
        shift = joints - (world @ rest[..., None])[..., 0]
        transforms = np.concatenate([world, shift[..., None]], axis=-1)
        return self._moved(
            transforms.reshape(JOINT_COUNT, 12), self._at_rest(rotations, weights)
        ), joints

    def _moved(self, transforms: FloatArray, at_rest: FloatArray) -> FloatArray:
        """(24, 12) and (3, V) -> vertices (V, 3)."""
        rows = (transforms.T @ self._weights).reshape(3, 4, -1)
        turned = rows[:, 0] * at_rest[0]
        turned += rows[:, 1] * at_rest[1]
        turned += rows[:, 2] * at_rest[2]
        turned += rows[:, 3]
        return turned.T

    def _at_rest(self, rotations: FloatArray, weights: FloatArray) -> FloatArray:
        """(3, V): the shaped and corrected vertices before they are moved."""
        rest = weights @ self._shape_basis
        pose = (rotations[1:] - np.eye(3, dtype=rotations.dtype)).ravel()
        for features, coordinates, directions in self._corrections:
            rest[coordinates] += pose[features] @ directions
        return rest.reshape(3, -1)

    def _chain(self, rotations: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rotations (24, 3, 3) in the body's frame, and posed joints (24, 3)."""
        world, joints = np.empty_like(rotations), np.empty_like(rest)
        for joint, parent in enumerate(self._parents):
            if parent < 0:
                world[joint], joints[joint] = rotations[joint], rest[joint]
                continue
            world[joint] = world[parent] @ rotations[joint]
            joints[joint] = joints[parent] + world[parent] @ (rest[joint] - rest[parent])
        return world, joints


def pose_arrays(
    body: BodyArrays, rotations: FloatArray, betas: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) of N bodies in metres, before translation.

    `rotations` (N, 24, 3, 3) are relative to the parent joint, the first is the global orientation.
    `betas` (N, B).
    """
    return _poser(body)(rotations, betas)


@lru_cache(maxsize=2)
def _poser(body: BodyArrays) -> BodyPoser:
    return BodyPoser(body)


def _corrections(directions: FloatArray) -> list[_Corrections]:
    """From (207, 3 V)."""
    if np.count_nonzero(directions) > _SPARSE * directions.size:
        everything = slice(None)
        return [_Corrections(everything, everything, np.ascontiguousarray(directions))]
    corrections = []
    for first in range(0, POSE_FEATURE_COUNT, 9):
        features = slice(first, first + 9)
        moved = directions[features].any(0).nonzero()[0]
        some = np.ascontiguousarray(directions[features, moved])
        corrections.append(_Corrections(features, moved, some))
    return corrections
