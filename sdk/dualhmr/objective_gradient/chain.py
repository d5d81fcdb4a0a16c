"""The kinematic chain: each joint's rotation against its parent -> how everything at it moves.

Joint j rests at r_j. Its rotation in the body's frame is that of its parent times its own,
W_j = W_p(j) R_j, with W = I above the root. What moves with it is turned about the posed joint:
x -> W_j x + s_j. Parent and child agree about where the joint is, W_p r_j + s_p = W_j r_j + s_j,
so with `a <= j` for "a is j or above it"

    s_j = sum over a <= j of (W_p(a) - W_a) r_a,        joint q_j = W_j r_j + s_j.

Backward, from F_j = grad s_j and grad W_j:

- All that is below j moves with the force S_j = sum over d >= j of F_d; so
  grad r_j = (W_p(j) - W_j)^T S_j.
- Turning j by a small matrix D in the body's frame, W_p dR_j = D W_j, moves every d >= j rigidly
  about q_j: dW_d = D W_d and ds_d = D (s_d - q_j). So the gradient with respect to D is
  M_j = sum over d >= j of (grad W_d W_d^T + F_d s_d^T) - S_j q_j^T,  and  grad R_j = W_p^T M_j W_j.

The last step uses that R_j is orthonormal; it is still the gradient for all nine numbers of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body import Body


class Chained(NamedTuple):
    """A posed chain of N persons."""

    transforms: Tensor
    """(N, J, 3, 4): [W | s], as in `Pose.transforms`; metres."""
    parent_rotations: Tensor
    """(N, J, 3, 3): W of each joint's parent."""
    joints: Tensor
    """(N, J, 3) posed joints q, metres."""

    @property
    def rotations(self) -> Tensor:
        """(N, J, 3, 3): W."""
        return self.transforms[..., :3]


class Chain:
    """The chain of one body's joints, all of them at once."""

    def __init__(self, body: Body) -> None:
        """Numbers each joint's ancestors."""
        above = _ancestors(body.parents)
        like = body.v_template
        self._jumps = [torch.tensor(jump, device=like.device) for jump in _jumps(body.parents)]
        self._ancestry = torch.tensor(above).to(like)
        """(J, J): 1 where the column is the row's joint or above it."""
        self._descent = self._ancestry.T.contiguous()
        self._identity = torch.eye(3).to(like)

    def forward(self, rotations: Tensor, rest: Tensor) -> Chained:
        """Rotations (N, J, 3, 3) against the parents and joints at rest (N, J, 3) -> the chain."""
        world, parents = self._along(rotations)
        turned = (world @ rest[..., None])[..., 0]
        held = (parents @ rest[..., None])[..., 0]
        shift = self._ancestry @ (held - turned)
        return Chained(torch.cat([world, shift[..., None]], dim=-1), parents, shift + turned)

    def backward(self, chained: Chained, grad_transforms: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of rotations (N, J, 3, 3) and rest (N, J, 3) from the transforms' one."""
        force = grad_transforms[..., 3:]
        moment = grad_transforms @ chained.transforms.mT
        below = self._descent @ torch.cat([moment, force], dim=-1).flatten(2)
        moment, force = below.unflatten(2, (3, 4)).split([3, 1], dim=-1)
        moment = moment - force * chained.joints[..., None, :]
        grad_rotations = chained.parent_rotations.mT @ moment @ chained.rotations
        grad_rest = (chained.parent_rotations - chained.rotations).mT @ force
        return grad_rotations, grad_rest[..., 0]

    def _along(self, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """W (N, J, 3, 3) and that of the parents (N, J, 3, 3).

        Pointer jumping: after k rounds a joint's product reaches over 2^k of its ancestors. One
        more matrix, the identity that stands above the root, ends every path.
        """
        top = self._identity.expand(len(rotations), 1, 3, 3)
        world = torch.cat([rotations, top], dim=1)
        for ancestors in self._jumps:
            world = world.index_select(1, ancestors) @ world
        parents = world.index_select(1, self._jumps[0])
        return world[:, :-1], parents[:, :-1]


def _ancestors(parents: tuple[int, ...]) -> list[list[float]]:
    """Row j: 1 for j and all joints above it."""
    rows: list[list[float]] = []
    for joint, parent in enumerate(parents):
        row = [0.0] * len(parents) if parent < 0 else rows[parent].copy()
        row[joint] = 1.0
        rows.append(row)
    return rows


def _jumps(parents: tuple[int, ...]) -> list[list[int]]:
    """The ancestor 1, 2, 4, ... steps above each joint; J, one past the last, above the root."""
    top = len(parents)
    above = [*(parent if parent >= 0 else top for parent in parents), top]
    jumps = []
    while any(ancestor != top for ancestor in above):
        jumps.append(above)
        above = [above[ancestor] for ancestor in above]
    return jumps
