"""Rotations as matrices, rotation vectors (axis-angle) and the 6D numbers that networks regress.

No branch depends on data, so that all of this can be traced, exported and mapped over persons.
All functions take and return tensors with any leading dimensions and are differentiable.
Matrices act on column vectors.
"""

import torch
from torch import Tensor


def rotvec_to_rotmat(rotvec: Tensor) -> Tensor:
    """Rodrigues' formula. `rotvec` (..., 3) in radians -> (..., 3, 3).

    Smooth at zero: there the sine quotients are replaced by their Taylor series, so value and
    gradient are exact to rounding.
    """
    squared = (rotvec * rotvec).sum(-1)[..., None, None]
    small = squared < 1e-6
    # The branch that `where` drops still gets a gradient: it must not divide by zero.
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine_over_angle = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    # 1 - cos(angle) would cancel in single precision; it is 2 sin(angle / 2)^2.
    half_sine_over_half = torch.where(small, 1 - squared / 24, (angle / 2).sin() / (angle / 2))
    versine_over_square = half_sine_over_half.square() / 2
    skew = _skew(rotvec)
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + sine_over_angle * skew + versine_over_square * (skew @ skew)


def rotmat_to_rotvec(rotmat: Tensor) -> Tensor:
    """`rotmat` (..., 3, 3) -> rotation vector (..., 3) in radians, of length at most pi.

    Goes through the unit quaternion, which stays accurate near 0 and near pi.
    """
    quaternion = _rotmat_to_quaternion(rotmat)
    # q and -q are one rotation; the one with a positive scalar turns by at most pi.
    quaternion = quaternion * torch.where(quaternion[..., :1] < 0, -1.0, 1.0)
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    sine = vector.norm(dim=-1, keepdim=True)
    tiny = sine < 1e-12
    angle = 2 * torch.atan2(sine, scalar)
    return vector * torch.where(tiny, 2 * torch.ones_like(sine), angle / sine.clamp_min(1e-12))


def rot6d_to_rotmat(rot6d: Tensor) -> Tensor:
    """`rot6d` (..., 6) -> (..., 3, 3), by Gram-Schmidt.

    The six numbers are a 3x2 matrix stored by rows, as in SPIN and Meta-HMR. Its first column is
    normalised, its second is made orthogonal to the first and normalised. The two and their cross
    product are the columns of the rotation.
    """
    columns = rot6d.unflatten(-1, (3, 2))
    first = torch.nn.functional.normalize(columns[..., 0], dim=-1)
    along = (first * columns[..., 1]).sum(-1, keepdim=True)
    second = torch.nn.functional.normalize(columns[..., 1] - along * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def rotmat_to_rot6d(rotmat: Tensor) -> Tensor:
    """The first two columns of `rotmat` (..., 3, 3), by rows -> (..., 6)."""
    return rotmat[..., :2].flatten(-2)


def _skew(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _rotmat_to_quaternion(rotmat: Tensor) -> Tensor:
    """(..., 3, 3) -> unit quaternion (..., 4), scalar first.

    Each of the four rows below is the quaternion times four times one of its components. The row
    of the largest component is well conditioned.
    """
    m = rotmat
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    w, x, y, z = 1 + trace, *(1 + 2 * m[..., i, i] - trace for i in range(3))
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 1, 0] + m[..., 0, 1],
        m[..., 2, 0] + m[..., 0, 2],
        m[..., 2, 1] + m[..., 1, 2],
    )
    rows = torch.stack([w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z], dim=-1)
    rows = rows.unflatten(-1, (4, 4))
    largest = torch.stack([w, x, y, z], dim=-1).argmax(-1)
    row = rows.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    return torch.nn.functional.normalize(row, dim=-1)
