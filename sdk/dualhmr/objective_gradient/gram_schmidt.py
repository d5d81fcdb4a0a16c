"""Six numbers a joint -> its rotation, and gradients the other way.

The six are a 3x2 matrix [a1 a2]. With n1 = |a1|, b1 = a1 / n1, d = b1.a2, u = a2 - d b1, n2 = |u|,
b2 = u / n2 and b3 = b1 x b2, the rotation is R = [b1 b2 b3] (see `rot6d_to_rotmat`).

However a1 and a2 change, R can only turn, in three ways:

    b1 towards b2 by  b2.da1 / n1,
    b1 towards b3 by  b3.da1 / n1,
    b2 towards b3 by (b3.da2 - d b3.da1 / n1) / n2.

When b_j turns towards b_i by an angle, b_i turns away from b_j by the same. With G the gradient
with respect to R's nine numbers and K = R^T G, the loss so changes by t_ij = K_ij - K_ji for every
radian, and collecting what multiplies da1 and da2 gives

    grad a1 = (t_21 b2 + (t_31 - t_32 d / n2) b3) / n1,    grad a2 = t_32 b3 / n2.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_SMALLEST_NORM = 1e-12
"""As in `torch.nn.functional.normalize`."""


class Orthonormal(NamedTuple):
    """Rotations, and the numbers of their making that the way back needs."""

    rotations: Tensor
    """(N, J, 3, 3)."""
    first_norm: Tensor
    """(N, J, 1): n1."""
    second_norm: Tensor
    """(N, J, 1): n2."""
    along: Tensor
    """(N, J, 1): d."""


def gram_schmidt(rot6d: Tensor) -> Orthonormal:
    """`rot6d` (N, J, 6) -> rotations (N, J, 3, 3)."""
    first, second = rot6d.unflatten(-1, (3, 2)).unbind(-1)
    first_norm = _norm(first)
    first = first / first_norm
    along = (first * second).sum(-1, keepdim=True)
    second = second - along * first
    second_norm = _norm(second)
    second = second / second_norm
    rotations = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    return Orthonormal(rotations, first_norm, second_norm, along)


def gram_schmidt_backward(made: Orthonormal, grad_rotations: Tensor) -> Tensor:
    """The gradient (N, J, 6) from that with respect to the rotations (N, J, 3, 3)."""
    against = made.rotations.mT @ grad_rotations
    turn = against - against.mT
    _, second, third = made.rotations.unbind(-1)
    second_to_third = turn[..., 2, 1, None] / made.second_norm
    first_to_third = turn[..., 2, 0, None] - second_to_third * made.along
    grad_first = (turn[..., 1, 0, None] * second + first_to_third * third) / made.first_norm
    grad_second = second_to_third * third
    return torch.stack([grad_first, grad_second], dim=-1).flatten(-2)


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
