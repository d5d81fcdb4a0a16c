"""Named points of a posed body - skeleton joints and keypoints on the skin - without its mesh.

A keypoint that is a linear combination of skinned vertices is

    k = sum_v r_v sum_j w_vj (G_j x_v + t_j) = sum_j (G_j m_j + a_j t_j),

with x_v the displaced rest vertex, G_j and t_j joint j's transform, m_j = sum_v r_v w_vj x_v and
a_j = sum_v r_v w_vj. As x_v is linear in the blend weights, so is m_j: its basis is computed once
per body, and a keypoint costs as much as the few joints that move it, exactly.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.body.skinning import Pose
from dualhmr.body_files import JOINT_COUNT

NEGLIGIBLE = 1e-7
"""Joint shares of a keypoint below this cannot move it by a micrometre."""


@dataclass(frozen=True, eq=False)
class PointRegressor:
    """K named points as rows over the posed joints and the posed vertices of one body."""

    names: tuple[str, ...]
    joint_rows: Tensor
    """(K, 24)."""
    vertex_rows: Tensor
    """(K, V)."""

    @property
    def available(self) -> Tensor:
        """(K,) bool: whether this body has the point at all; rows of the others are zero."""
        return self.joint_rows.any(1) | self.vertex_rows.any(1)

    def __add__(self, other: "PointRegressor") -> "PointRegressor":
        """The points of both, in order."""
        return PointRegressor(
            self.names + other.names,
            torch.cat([self.joint_rows, other.joint_rows]),
            torch.cat([self.vertex_rows, other.vertex_rows]),
        )

    def from_mesh(self, vertices: Tensor, joints: Tensor) -> Tensor:
        """Posed vertices (..., V, 3) and joints (..., 24, 3) -> the points (..., K, 3)."""
        return self.joint_rows @ joints + self.vertex_rows @ vertices


class PointPairs(NamedTuple):
    """K points as sums over P pairs of a point and a joint that moves it: the module's equation.

    A point is also `joint_rows @ joints`, where it depends on the skeleton's joints themselves.
    """

    joint_rows: Tensor
    """(K, 24)."""
    pair_rows: Tensor
    """(K, P): which pairs a point adds up."""
    joints: Tensor
    """(P,) int64."""
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
        # A point that is named twice is computed once.
        rows = torch.cat([regressor.joint_rows, regressor.vertex_rows], dim=1)
        rows, self._order = torch.unique(rows, dim=0, return_inverse=True)
        self._joint_rows, vertex_rows = rows.tensor_split([JOINT_COUNT], dim=1)
        shares = vertex_rows @ body.weights
        self._points, self._joints = (shares.abs() > NEGLIGIBLE).nonzero(as_tuple=True)
        self._share = shares[self._points, self._joints]
        self._basis = self._collapse(body, vertex_rows)
        self._sum_pairs = torch.zeros(len(rows), len(self._points)).to(self._basis)
        self._sum_pairs[self._points, torch.arange(len(self._points))] = 1

    def __call__(self, pose: Pose) -> Tensor:
        """A posed skeleton of N persons -> points (N, K, 3)."""
        on_joints = self._joint_rows @ pose.joints
        mean = (pose.blend @ self._basis).unflatten(1, (-1, 3))
        transform = pose.transforms[:, self._joints]
        moved = (transform[..., :3] @ mean[..., None])[..., 0]
        moved = moved + self._share[:, None] * transform[..., 3]
        return (on_joints + self._sum_pairs @ moved)[:, self._order]

    def pairs(self) -> PointPairs:
        """The constants that `__call__` computes with, for whoever differentiates it by hand."""
        return PointPairs(
            self._joint_rows[self._order],
            self._sum_pairs[self._order],
            self._joints,
            self._share,
            self._basis.unflatten(1, (-1, 3)),
        )

    def _collapse(self, body: Body, vertex_rows: Tensor) -> Tensor:
        """The basis (1 + B + 207, pairs x 3) of m_j, for every (keypoint, joint) pair."""
        blend_shapes = torch.cat(
            [body.v_template[..., None], body.shapedirs, body.posedirs], dim=-1
        )
        used = vertex_rows.any(0)
        rows, weights, shapes = vertex_rows[:, used], body.weights[used], blend_shapes[used]
        pairs = [
            torch.einsum("v,vcb->bc", rows[point] * weights[:, joint], shapes)
            for point, joint in zip(self._points.tolist(), self._joints.tolist(), strict=True)
        ]
        if not pairs:
            return blend_shapes.new_zeros(blend_shapes.shape[-1], 0)
        return torch.stack(pairs, dim=1).flatten(1)


def skeleton_rows(indices: list[int | None]) -> Tensor:
    """Rows (K, 24) that pick skeleton joints; None picks nothing."""
    rows = torch.zeros(len(indices), JOINT_COUNT)
    for point, joint in enumerate(indices):
        if joint is not None:
            rows[point, joint] = 1
    return rows
