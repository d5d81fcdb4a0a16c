"""Bodies in the camera's frame."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body_files import BodyArrays, pose_arrays

FloatArray = npt.NDArray[np.float32]


class StepTrace(NamedTuple):
    """One person's parameters at the start and after each of S - 1 steps."""

    rotations: FloatArray
    """(S, 24, 3, 3)."""
    betas: FloatArray
    """(S, 10)."""
    translation: FloatArray
    """(S, 3) metres."""


def place_bodies(
    body: BodyArrays, rotations: FloatArray, betas: FloatArray, translation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) in the camera frame, metres.

    `rotations` (N, 24, 3, 3), `betas` (N, B), `translation` (N, 3) metres. Bodies are posed one by
    one, so that who else is there does not change the last digit of anybody.
    """
    vertices, joints = [], []
    for turned, shape, place in zip(rotations, betas, translation, strict=True):
        posed = pose_arrays(body, turned, shape)
        vertices.append(posed[0] + place)
        joints.append(posed[1] + place)
    return np.stack(vertices), np.stack(joints)
