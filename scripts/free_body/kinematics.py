"""Rotations, kinematic chains and linear blend skinning, in batches of NumPy arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scripts.free_body.skeleton import JOINT_INDEX, JOINT_NAMES

Array = npt.NDArray[np.float64]


def cross_matrix(vectors: Array) -> Array:
    """Matrices (..., 3, 3) that take x to vector x x, for vectors (..., 3)."""
    matrix = np.zeros((*vectors.shape, 3))
    x, y, z = np.moveaxis(vectors, -1, 0)
    matrix[..., 0, 1], matrix[..., 0, 2] = -z, y
    matrix[..., 1, 0], matrix[..., 1, 2] = z, -x
    matrix[..., 2, 0], matrix[..., 2, 1] = -y, x
    return matrix


def rotvec_to_rotmat(rotvec: Array) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    axis = cross_matrix(rotvec / np.maximum(angle, 1e-12))
    sine, cosine = np.sin(angle)[..., None], np.cos(angle)[..., None]
    rotation: Array = np.eye(3) + sine * axis + (1 - cosine) * (axis @ axis)
    return rotation


def rotate(rotations: Array, vectors: Array) -> Array:
    """Vectors (..., 3) turned by rotations (..., 3, 3)."""
    rotated: Array = np.matmul(rotations, vectors[..., None])[..., 0]
    return rotated


def shortest_rotation(source: Array, target: Array) -> Array:
    """Rotations (..., 3, 3) by the smallest angle that turn `source` (..., 3) along `target`.

    The two must not point in opposite directions.
    """
    source = source / np.linalg.norm(source, axis=-1, keepdims=True)
    target = target / np.linalg.norm(target, axis=-1, keepdims=True)
    cross = cross_matrix(np.cross(source, target))
    cosine = (source * target).sum(-1)[..., None, None]
    rotation: Array = np.eye(3) + cross + (cross @ cross) / (1 + cosine)
    return rotation


def world_rotations(local: Array, parents: Sequence[int]) -> Array:
    """Rotations (N, J, 3, 3) relative to the world, from those relative to the parent."""
    world = local.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
    return world


def chain_translations(world: Array, pivots: Array, parents: Sequence[int]) -> Array:
    """Translations t (N, J, 3) such that a point x at rest goes to world @ x + t.

    Joints stay attached: each pivot (N, J, 3) goes where the parent takes it, and the
    root's pivot stays in place.
    """
    translations = np.zeros_like(pivots)
    for joint, parent in enumerate(parents):
        moved = pivots[:, joint]
        if parent >= 0:
            moved = rotate(world[:, parent], moved) + translations[:, parent]
        translations[:, joint] = moved - rotate(world[:, joint], pivots[:, joint])
    return translations


def blend_transforms(weights: sparse.csr_array, world: Array, translations: Array) -> Array:
    """Blended transforms (N, V, 3, 4) of every vertex, for skin weights (V, J)."""
    transforms = np.concatenate([world, translations[..., None]], -1)
    count, joints = transforms.shape[:2]
    blended = [weights @ transform for transform in transforms.reshape(count, joints, 12)]
    return np.stack(blended).reshape(count, -1, 3, 4)


def skin(vertices: Array, weights: sparse.csr_array, world: Array, translations: Array) -> Array:
    """Linear blend skinning of vertices (N, V, 3) by transforms of J joints."""
    blended = blend_transforms(weights, world, translations)
    return rotate(blended[..., :3], vertices) + blended[..., 3]


_LARGEST_ANGLE_RAD = 2.4
_DEFAULT_SPREAD_RAD = (0.12, 0.12, 0.12)
_SPREADS_RAD = {
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
    """Local rotations (count, 24, 3, 3); the root stays, knees and elbows bend one way."""
    rng = np.random.default_rng(seed)
    spread = [_SPREADS_RAD.get(name.split("_")[-1], _DEFAULT_SPREAD_RAD) for name in JOINT_NAMES]
    pose = rng.standard_normal((count, len(JOINT_NAMES), 3)) * np.array(spread)
    pose[:, 0] = 0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[:, JOINT_INDEX[f"{side}_knee"], 0] = 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_elbow"], 1] = -sign * 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_shoulder"], 2] -= sign * 0.7  # arms mostly hang
    angle = np.linalg.norm(pose, axis=-1, keepdims=True)
    return rotvec_to_rotmat(pose * np.minimum(1, _LARGEST_ANGLE_RAD / np.maximum(angle, 1e-9)))
