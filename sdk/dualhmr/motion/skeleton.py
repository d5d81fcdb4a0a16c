"""The posed skeleton of all frames at once, points of the skin on it, and what skeleton files hold.

A mesh takes a thousand times as long: `dualhmr.body.posing`.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import BodyArrays, FloatArray
from dualhmr.body.point_regressors import PointPairs, keypoint_regressor, point_pairs
from dualhmr.keypoints import KeypointSet

Array = npt.NDArray[np.float64]


def rest_joints(body: BodyArrays, betas: FloatArray) -> FloatArray:
    """Betas (..., B) -> (..., 24, 3), the skeleton at rest."""
    template, directions = _joint_basis(body)
    joints: FloatArray = template + np.einsum("jcb,...b->...jc", directions, betas)
    return joints


@lru_cache(maxsize=4)
def _joint_basis(body: BodyArrays) -> tuple[FloatArray, FloatArray]:
    """(24, 3) and (24, 3, B): the mesh is not needed for each frame of a live camera."""
    directions = np.einsum("jv,vcb->jcb", body.joint_regressor, body.shapedirs)
    return body.joint_regressor @ body.v_template, directions


def world_rotations(rotations: FloatArray, parents: tuple[int, ...]) -> FloatArray:
    """(T, 24, 3, 3) relative to the parent joint -> each joint's frame to the world's."""
    world = rotations.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ world[:, joint]
    return world


def posed_joints(world: FloatArray, rest: FloatArray, parents: tuple[int, ...]) -> FloatArray:
    """World rotations (T, 24, 3, 3) and rest joints, (24, 3) or (T, 24, 3) -> (T, 24, 3)."""
    joints = np.array(np.broadcast_to(rest, world.shape[:-1]))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            bone = (rest[..., joint, :] - rest[..., parent, :])[..., None]
            joints[:, joint] = joints[:, parent] + (world[:, parent] @ bone)[..., 0]
    return joints


def skin_points(
    body: BodyArrays,
    keypoint_set: KeypointSet,
    *,
    rotations: FloatArray,
    betas: FloatArray,
    world: FloatArray,
    rest: FloatArray,
    joints: FloatArray,
) -> FloatArray:
    """(T, K, 3) the points of the posed body that `keypoint_set` names.

    `betas` (T, B); `rotations` and `world` (T, 24, 3, 3), relative to the parent joint and to the
    world; `rest` (24, 3) or (T, 24, 3); `joints` (T, 24, 3) posed. The formula is that of
    `dualhmr.body.points`.
    """
    pairs = _pairs(body, keypoint_set)
    frames = len(rotations)
    feature = (rotations[:, 1:] - np.eye(3, dtype=np.float32)).reshape(frames, -1)
    blend = np.concatenate([np.ones_like(betas[:, :1]), betas, feature], axis=1)
    mean = np.tensordot(blend, pairs.basis, axes=1)
    moved = (world[:, pairs.joints] @ mean[..., None])[..., 0]
    shift = joints - (world @ rest[..., None])[..., 0]
    moved += pairs.share[:, None] * shift[:, pairs.joints]
    sums = np.zeros((len(pairs.joint_rows), len(pairs.points)), np.float32)
    sums[pairs.points, np.arange(len(pairs.points))] = 1
    points = pairs.joint_rows @ joints + sums @ moved
    return points[:, pairs.order]


@lru_cache(maxsize=8)
def _pairs(body: BodyArrays, keypoint_set: KeypointSet) -> PointPairs:
    return point_pairs(body, keypoint_regressor(body, keypoint_set))


class SkeletonMotion(NamedTuple):
    """Bones at rest and their turns: J joints over T frames, y-up, metres.

    At rest, no joint is turned.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Of the root -1; parents precede children."""
    rest: Array
    """(J, 3)."""
    rotations: Array
    """(T, J, 3, 3) relative to the parent joint, the first to the world."""
    root: Array
    """(T, 3) where the root is."""
    fps: float

    @property
    def offsets(self) -> Array:
        """(J, 3) from the parent joint at rest; of the root, from the origin."""
        parents = list(self.parents[1:])
        return np.concatenate([self.rest[:1], self.rest[1:] - self.rest[parents]])

    def children(self, joint: int) -> list[int]:
        """In ascending order."""
        return [child for child, parent in enumerate(self.parents) if parent == joint]
