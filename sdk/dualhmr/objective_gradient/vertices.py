"""A posed skeleton -> the skin, by linear blend skinning, and gradients the other way.

A vertex rests at x_v, linear in the blend weights, and is moved by a mixture of the joints'
transforms, [G_v | t_v] = sum_j w_vj T_j, to y_v = G_v x_v + t_v. Backward, with g_v = grad y_v,

    grad x_v = G_v^T g_v,    grad T_j = sum_v w_vj g_v (x_v, 1)^T.

The basis of x is the one large matrix of a body, and reading it twice is most of the work. Vertices
come last in every tensor, a plane for each coordinate, so that all else runs along memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body import Body


class Skinned(NamedTuple):
    """The skin of N persons; metres."""

    vertices: Tensor
    """(N, 3, V) posed."""
    rest: Tensor
    """(N, 3, V): x."""
    movers: Tensor
    """(N, 3, 4, V): [G | t]."""


class Vertices:
    """The vertices of one body."""

    def __init__(self, body: Body) -> None:
        """Merges the blend shapes, once for a body."""
        self._basis = body.blend_shapes.flatten(1)
        """(1 + B + 207, 3 x V)."""
        self._weights = body.weights

    def forward(self, transforms: Tensor, blend: Tensor) -> Skinned:
        """Transforms (N, 24, 3, 4) and blend weights (N, 1 + B + 207) -> the skin."""
        rest = (blend @ self._basis).unflatten(1, (3, -1))
        movers = (transforms.flatten(2).mT @ self._weights.T).unflatten(1, (3, 4))
        turned = (movers[:, :, :3] * rest[:, None]).sum(2)
        return Skinned(turned + movers[:, :, 3], rest, movers)

    def backward(self, skinned: Skinned, grad_vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of transforms (N, 24, 3, 4) and blend weights from the vertices' (N, 3, V)."""
        grad = grad_vertices[:, :, None]
        grad_movers = torch.cat([grad * skinned.rest[:, None], grad], dim=2)
        grad_transforms = (grad_movers.flatten(1, 2) @ self._weights).mT.unflatten(2, (3, 4))
        grad_rest = (skinned.movers[:, :, :3] * grad).sum(1)
        return grad_transforms, grad_rest.flatten(1) @ self._basis.T
