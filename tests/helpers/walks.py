"""Synthetic motions with a known truth: walks whose feet do not slide, and claps."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualhmr.body.arrays import JOINT_NAMES, BodyArrays
from dualhmr.body.files import read_body
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion import Motion

Array = NDArray[np.float64]
CAMERA_OF_BODY = np.diag([1.0, -1.0, -1.0])
"""A body that faces the camera."""


@lru_cache(maxsize=1)
def free_body() -> BodyArrays:
    return read_body()


def random_motion(frames: int = 5, *, seed: int = 0, body: BodyArrays | None = None) -> Motion:
    """Any rotations at all, one shape, somewhere before the camera."""
    rng = np.random.default_rng(seed)
    body = free_body() if body is None else body
    rotvecs = rng.normal(0, 0.6, (1, 24, 3)) + np.cumsum(rng.normal(0, 0.2, (frames, 24, 3)), 0)
    return Motion(
        rotations=rotvec_to_matrix(rotvecs),
        betas=rng.normal(0, 1, body.beta_count),
        translation=rng.normal([0, 0, 4], 0.3, (frames, 3)),
        body=body,
        fps=25.0,
        focal_length=np.full(frames, 900.0),
        principal_point=np.full((frames, 2), [320.0, 240.0]),
    )


def posed(rotvecs: dict[str, Array], frames: int) -> Array:
    """(T, 24, 3, 3) from rotation vectors (T, 3) of some joints; the others are at rest."""
    everything = np.zeros((frames, 24, 3))
    for name, values in rotvecs.items():
        everything[:, JOINT_NAMES.index(name)] = values
    rotations = rotvec_to_matrix(everything)
    rotations[:, 0] = CAMERA_OF_BODY @ rotations[:, 0]
    return rotations
