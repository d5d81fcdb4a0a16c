"""People of the free body whose truth is known, and the keypoints that a camera sees of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualhmr import Recovery, SMPLParameters
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import read_body
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.body.posing import pose_arrays
from dualhmr.keypoints import COCO_17

IMAGE = np.zeros((640, 480, 3), np.uint8)
FACING = np.diag([1.0, -1.0, -1.0])
"""Upright before the camera."""
_DISTANCE_M = 5.0
_SHOULDERS = (16, 17)


class SyntheticPerson(NamedTuple):
    """One person, seen by a camera of the default focal length."""

    truth: SMPLParameters
    keypoints: NDArray[np.float32]
    """(17, 2) COCO's, image pixels."""
    box_height: float

    def seen(self, noise: float, seed: int = 0) -> NDArray[np.float32]:
        """The keypoints, with normal errors of `noise` box heights."""
        errors = np.random.default_rng(seed).normal(size=self.keypoints.shape)
        return (self.keypoints + noise * self.box_height * errors).astype(np.float32)


def synthetic_person(seed: int) -> SyntheticPerson:
    """A person who stands with the arms at some height, turned by at most 45 degrees."""
    rng = np.random.default_rng(seed)
    vectors = 0.2 * rng.normal(size=(24, 3))
    for shoulder, sign in zip(_SHOULDERS, (-1, 1), strict=True):
        vectors[shoulder, 2] += sign * rng.uniform(0.3, 1.0)
    rotations = rotvec_to_matrix(vectors)
    rotations[0] = FACING @ rotvec_to_matrix(np.array([0, rng.uniform(-0.8, 0.8), 0]))
    truth = SMPLParameters(rotations, 0.7 * rng.normal(size=10))  # type: ignore[arg-type]
    body, height, width = _body(), *IMAGE.shape[:2]
    vertices = pose_arrays(body, truth.rotations[None], truth.betas[None])[0][0]
    points = _coco_regressor() @ vertices - vertices.mean(0) + (0, 0, _DISTANCE_M)
    xy = points[:, :2] / points[:, 2:] * np.hypot(width, height) + (width / 2, height / 2)
    return SyntheticPerson(truth, xy.astype(np.float32), 1.2 * float(np.ptp(xy[:, 1])))


def distance_mm(mine: SMPLParameters | Recovery, other: SMPLParameters) -> float:
    """Mean distance of vertices, both centred between the hips; of a recovery's first person."""
    first, second = (_centred(each) for each in (mine, other))
    return float(1000 * np.linalg.norm(first - second, axis=-1).mean())


def _centred(body: SMPLParameters | Recovery) -> NDArray[np.float32]:
    if isinstance(body, Recovery):
        rotations = np.concatenate([body.global_orient[:1], body.body_pose[0]])
        body = SMPLParameters(rotations, body.betas[0])
    vertices = pose_arrays(_body(), body.rotations[None], body.betas[None])[0][0]
    hips = _body().joint_regressor[1:3] @ vertices
    return np.asarray(vertices - hips.mean(0), np.float32)


@lru_cache(maxsize=1)
def _body() -> BodyArrays:
    return read_body()


@lru_cache(maxsize=1)
def _coco_regressor() -> NDArray[np.float32]:
    body = _body()
    assert body.keypoint_regressor is not None
    return np.array(
        [body.keypoint_regressor[body.keypoint_names.index(name)] for name in COCO_17.names]
    )
