"""Rotation matrices as unit quaternions and as rotation vectors, in NumPy and double precision."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def matrix_to_quaternion(matrices: npt.ArrayLike) -> Array:
    """(..., 3, 3) -> (..., 4), scalar first, of norm 1.

    Each row below is the quaternion times four times one of its components; that of the largest
    component is well conditioned.
    """
    m = np.asarray(matrices, np.float64)
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    w, x, y, z = 1 + trace, *(1 + 2 * m[..., i, i] - trace for i in range(3))
    wx, wy, wz = (
        m[..., (i + 2) % 3, (i + 1) % 3] - m[..., (i + 1) % 3, (i + 2) % 3] for i in range(3)
    )
    yz, xz, xy = (
        m[..., (i + 2) % 3, (i + 1) % 3] + m[..., (i + 1) % 3, (i + 2) % 3] for i in range(3)
    )
    rows = np.stack([w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z], axis=-1)
    rows = rows.reshape(*rows.shape[:-1], 4, 4)
    largest = np.stack([w, x, y, z], axis=-1).argmax(-1)
    row = np.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


def matrix_to_rotvec(matrices: npt.ArrayLike) -> Array:
    """(..., 3, 3) -> rotation vectors (..., 3) in radians, of length at most pi."""
    quaternion = matrix_to_quaternion(matrices)
    # q and -q are one rotation; the one with a positive scalar turns by at most pi.
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * np.where(sine < 1e-12, 2.0, angle / np.maximum(sine, 1e-12))


def without_flips(quaternions: Array) -> Array:
    """(T, ..., 4) of the same rotations, each nearer to the one before it than its negative is.

    Viewers interpolate the numbers of one frame and the next.
    """
    agree = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True)
    signs = np.cumprod(np.where(agree < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs])
