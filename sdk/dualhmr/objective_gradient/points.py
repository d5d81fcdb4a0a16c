"""A posed skeleton -> the objective's keypoints and centred joints, without a mesh.

A point on the skin is a sum over the few joints that move it (see `dualhmr.body.points`),

    k = sum_j [G_j | t_j] (m_j, a_j),

with m_j linear in the blend weights and a_j constant; that is a pair's *place*, four numbers, and
`blend @ basis` gives all of them. A skeleton joint is one such pair too: its place is (rest, 1).
Centring joints between two of them is linear as well and is folded into the rows that add up pairs.
So points = rows @ moved with moved_p = T_j(p) place_p, and backward is the same in reverse:

    grad moved = rows^T grad points,
    grad T_j = sum over the pairs of j of grad moved_p place_p^T,
    grad place_p = T_j(p)^T grad moved_p.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body import JOINT_COUNT, Body
from dualhmr.objective import Objective


class PlacedPoints(NamedTuple):
    """The points of N persons, and the P pairs that make them."""

    points: Tensor
    """(N, K, 3) metres."""
    places: Tensor
    """(N, P, 4): (m, a)."""
    movers: Tensor
    """(N, P, 3, 4): the transform that moves each pair."""


class Points:
    """The keypoints of an objective, then its 3D joints, these centred between its two roots."""

    def __init__(self, objective: Objective) -> None:
        """Takes the collapsed regressor apart into pairs."""
        pairs = objective.body_points.pairs()
        skeleton = torch.arange(JOINT_COUNT, device=pairs.joints.device)
        self._joints = torch.cat([skeleton, pairs.joints])
        """(P,): the joint of each pair."""
        self._of_joint = (skeleton[:, None] == self._joints).to(pairs.basis)
        """(24, P): 1 where the pair is the joint's."""
        share = torch.zeros_like(pairs.basis[..., :1])
        share[0, :, 0] = pairs.share
        on_skin = torch.cat([pairs.basis, share], dim=-1)
        basis = torch.cat([_rest_basis(objective.body), on_skin], dim=1)
        self._basis = basis.flatten(1)
        """(1 + B + 207, P x 4)."""
        rows = torch.cat([pairs.joint_rows, pairs.pair_rows], dim=1)
        keypoints, joints = rows.split([len(objective.available), len(objective.joints_available)])
        joints = joints - joints[list(objective.root)].mean(0)
        self._rows = torch.cat([keypoints, joints])
        """(K, P)."""

    def forward(self, transforms: Tensor, blend: Tensor) -> PlacedPoints:
        """Transforms (N, 24, 3, 4) and blend weights (N, 1 + B + 207) -> points (N, K, 3)."""
        places = (blend @ self._basis).unflatten(1, (-1, 4))
        movers = transforms.index_select(1, self._joints)
        moved = (movers @ places[..., None])[..., 0]
        return PlacedPoints(self._rows @ moved, places, movers)

    def backward(self, placed: PlacedPoints, grad_points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of transforms (N, 24, 3, 4) and blend weights from the points' (N, K, 3)."""
        grad_moved = (self._rows.T @ grad_points)[..., None]
        grad_movers = grad_moved * placed.places[..., None, :]
        grad_transforms = (self._of_joint @ grad_movers.flatten(2)).unflatten(2, (3, 4))
        grad_places = (placed.movers.mT @ grad_moved).flatten(1)
        return grad_transforms, grad_places @ self._basis.T


def _rest_basis(body: Body) -> Tensor:
    """(1 + B + 207, 24, 4): the places of the skeleton's joints, (rest joint, 1)."""
    basis = body.v_template.new_zeros(1 + body.beta_count + body.posedirs.shape[-1], JOINT_COUNT, 4)
    basis[0, :, :3] = body.joint_template
    basis[0, :, 3] = 1
    basis[1 : 1 + body.beta_count, :, :3] = body.joint_directions.permute(2, 0, 1)
    return basis
