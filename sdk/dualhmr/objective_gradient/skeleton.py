"""Rotations and betas -> a posed skeleton and the weights of the blend shapes.

From here on everything a body shows, points and vertices, depends on the joints' transforms and on
the blend weights alone: as in `dualhmr.body.Pose`, whose numbers these are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body import Body
from dualhmr.objective_gradient.chain import Chain, Chained


class PosedSkeleton(NamedTuple):
    """A posed skeleton of N persons."""

    chained: Chained
    blend: Tensor
    """(N, 1 + B + 207): one, the betas and the pose feature; weights of the blend shapes."""

    @property
    def transforms(self) -> Tensor:
        """(N, 24, 3, 4) rest position -> posed position of what moves with each joint."""
        return self.chained.transforms


class Skeleton:
    """One body's skeleton: rest joints linear in the betas, the chain, the pose feature."""

    def __init__(self, body: Body) -> None:
        """Takes the rest joints' shape basis from `body`."""
        self._chain = Chain(body)
        self._template = body.joint_template
        self._directions = body.joint_directions.flatten(0, 1).T.contiguous()
        """(B, 24 x 3)."""
        self._identity = torch.eye(3).to(body.v_template)

    def forward(self, rotations: Tensor, betas: Tensor) -> PosedSkeleton:
        """Rotations (N, 24, 3, 3) against the parents and betas (N, B) -> the posed skeleton."""
        rest = self._template + (betas @ self._directions).unflatten(1, (-1, 3))
        feature = (rotations[:, 1:] - self._identity).flatten(1)
        blend = torch.cat([torch.ones_like(betas[:, :1]), betas, feature], dim=1)
        return PosedSkeleton(self._chain.forward(rotations, rest), blend)

    def backward(
        self, posed: PosedSkeleton, grad_transforms: Tensor, grad_blend: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of rotations (N, 24, 3, 3) and betas (N, B) from those of what they made."""
        grad_rotations, grad_rest = self._chain.backward(posed.chained, grad_transforms)
        betas = len(self._directions)
        _, grad_betas, grad_feature = grad_blend.tensor_split([1, 1 + betas], dim=1)
        grad_betas = grad_betas + grad_rest.flatten(1) @ self._directions.T
        root, others = grad_rotations[:, :1], grad_rotations[:, 1:]
        others = others + grad_feature.unflatten(1, (-1, 3, 3))
        return torch.cat([root, others], dim=1), grad_betas
