"""Moving the ankles: hips and knees that put them where they should be."""

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion.motion import Motion

Array = npt.NDArray[np.float64]
_STRAIGHT = 0.999
"""How much of a leg's length is used: a straight leg has no plane in which its knee bends."""


def with_ankles_at(motion: Motion, side: str, ankles: npt.ArrayLike) -> Motion:
    """The motion with the ankle of `side` (`left`, `right`) at `ankles` (T, 3), camera frame.

    The knee bends in its own plane and the leg turns about the hip by the smallest angle, as in any
    solver for two bones. The foot keeps its direction. An ankle farther away than the leg is long
    is reached for.
    """
    hip, knee, ankle = (JOINT_NAMES.index(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
    joints, world = motion.joints.astype(np.float64), motion.world_rotations.astype(np.float64)
    thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
    target = np.asarray(ankles, np.float64) - joints[:, hip]
    # SMPL's knees bend about their own x axis; the plane of a bent leg is more exact.
    axis = np.cross(thigh, shin) + 1e-4 * _length(thigh) * _length(shin) * world[:, knee, :, 0]
    axis /= _length(axis)
    bend = rotvec_to_matrix(axis * (_bend(thigh, shin, target) - _angle(thigh, shin))[:, None])
    foot = thigh + (bend @ shin[..., None])[..., 0]
    swing = rotvec_to_matrix(_between(foot, target))
    parent = world[:, motion.body.parents[hip]]
    hips, knees = swing @ world[:, hip], swing @ bend @ world[:, knee]
    rotations = motion.rotations.astype(np.float64)
    rotations[:, hip] = parent.swapaxes(1, 2) @ hips
    rotations[:, knee] = hips.swapaxes(1, 2) @ knees
    rotations[:, ankle] = knees.swapaxes(1, 2) @ world[:, ankle]
    return motion.changed(rotations=rotations)


def _bend(thigh: Array, shin: Array, target: Array) -> Array:
    """(T,) the angle between thigh and shin that makes the leg as long as `target`."""
    upper, lower = _length(thigh)[:, 0], _length(shin)[:, 0]
    reach = _STRAIGHT * (upper + lower)
    distance = np.minimum(_length(target)[:, 0], reach)
    cosine = (distance**2 - upper**2 - lower**2) / (2 * upper * lower)
    return np.arccos(cosine.clip(-1, 1))


def _between(first: Array, second: Array) -> Array:
    """(T, 3) the smallest rotation vector that turns one direction into the other."""
    axis = np.cross(first, second)
    length = _length(axis)
    return axis / np.maximum(length, 1e-12) * _angle(first, second)[:, None]


def _angle(first: Array, second: Array) -> Array:
    return np.arctan2(_length(np.cross(first, second))[:, 0], (first * second).sum(-1))


def _length(vectors: Array) -> Array:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)
