"""Named points of a posed body: skeleton joints and keypoints on the skin, without its mesh.

A keypoint that is a linear combination of skinned vertices is

    k = sum_v r_v sum_j w_vj (G_j x_v + t_j) = sum_j (G_j m_j + a_j t_j),

with x_v the displaced rest vertex, G_j and t_j joint j's transform, m_j = sum_v r_v w_vj x_v and
a_j = sum_v r_v w_vj. As x_v is linear in the blend weights, so is m_j: its basis is computed once
per body (`dualhmr.body.point_regressors`), and a keypoint costs as much as the few joints that move
it, exactly.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body, Pose
from dualhmr.body.point_regressors import PointRegressor, point_pairs


class PairTensors(NamedTuple):
    """The constants of the module's equation: K points as sums over P (point, joint) pairs.

    `joint_rows @ joints` is added for points that are skeleton joints.
    """

    joint_rows: Tensor
    """(K, 24)."""
    pair_rows: Tensor
    """(K, P): 1 for the pairs that belong to the point."""
    joints: Tensor
    """(P,) int64, the pair's joint."""
    share: Tensor
    """(P,): a_j."""
    basis: Tensor
    """(1 + B + 207, P, 3): m_j for each number of `Pose.blend`."""


class BodyPoints:
    """Computes the K points of a regressor from a posed skeleton; differentiable."""

    def __init__(self, body: Body, regressor: PointRegressor) -> None:
        """Collapses `regressor` over `body`'s skinning weights and blend shapes."""
        self.names = regressor.names
        self.available = regressor.available
        pairs, device = point_pairs(body, regressor), body.v_template.device
        self._order, points, self._joints = (
            torch.from_numpy(each).to(device) for each in (pairs.order, pairs.points, pairs.joints)
        )
        self._joint_rows, self._share, self._basis = (
            torch.from_numpy(each).to(body.v_template)
            for each in (
                pairs.joint_rows,
                pairs.share,
                pairs.basis.reshape(len(pairs.basis), 3 * len(points)),
            )
        )
        self._sum_pairs = torch.zeros(len(self._joint_rows), len(points)).to(self._basis)
        self._sum_pairs[points, torch.arange(len(points), device=device)] = 1

    def __call__(self, pose: Pose) -> Tensor:
        """A posed skeleton of N persons -> points (N, K, 3)."""
        on_joints = self._joint_rows @ pose.joints
        mean = (pose.blend @ self._basis).unflatten(1, (-1, 3))
        transform = pose.transforms[:, self._joints]
        moved = (transform[..., :3] @ mean[..., None])[..., 0]
        moved = moved + self._share[:, None] * transform[..., 3]
        return (on_joints + self._sum_pairs @ moved)[:, self._order]

    def pairs(self) -> PairTensors:
        """The constants that `__call__` uses, for the closed-form gradient."""
        return PairTensors(
            self._joint_rows[self._order],
            self._sum_pairs[self._order],
            self._joints,
            self._share,
            self._basis.unflatten(1, (-1, 3)),
        )
