"""From 6D rotations and betas to a posed skeleton, and gradients the other way.

All points and vertices of a body depend on the joints' transforms and on the blend weights alone;
they are those of `dualhmr.body.model.Pose`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body

_SMALLEST_NORM = 1e-12
"""As in `torch.nn.functional.normalize`."""


class Orthonormal(NamedTuple):
    """Rotations, and the intermediate numbers that the way back reads."""

    rotations: Tensor
    """(N, J, 3, 3)."""
    first_norm: Tensor
    """(N, J, 1): n1."""
    second_norm: Tensor
    """(N, J, 1): n2."""
    along: Tensor
    """(N, J, 1): d."""


def gram_schmidt(rot6d: Tensor) -> Orthonormal:
    """`rot6d` (N, J, 6) -> rotations (N, J, 3, 3), as `rot6d_to_rotmat`.

    The six numbers are a 3x2 matrix [a1 a2]. With n1 = |a1|, b1 = a1 / n1, d = b1.a2,
    u = a2 - d b1, n2 = |u|, b2 = u / n2 and b3 = b1 x b2, the rotation is R = [b1 b2 b3].
    """
    first, second = rot6d.unflatten(-1, (3, 2)).unbind(-1)
    first_norm = _norm(first)
    first = first / first_norm
    along = (first * second).sum(-1, keepdim=True)
    second = second - along * first
    second_norm = _norm(second)
    second = second / second_norm
    rotations = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    return Orthonormal(rotations, first_norm, second_norm, along)


def gram_schmidt_backward(orthonormal: Orthonormal, grad_rotations: Tensor) -> Tensor:
    """The gradient (N, J, 6) from that with respect to the rotations (N, J, 3, 3).

    However a1 and a2 change, R can only turn, in three ways:

        b1 towards b2 by  b2.da1 / n1,
        b1 towards b3 by  b3.da1 / n1,
        b2 towards b3 by (b3.da2 - d b3.da1 / n1) / n2.

    When b_j turns towards b_i by an angle, b_i turns away from b_j by the same. With G the gradient
    with respect to R's nine numbers and K = R^T G, the loss changes by t_ij = K_ij - K_ji for every
    radian, and collecting the factors of da1 and da2 gives

        grad a1 = (t_21 b2 + (t_31 - t_32 d / n2) b3) / n1,    grad a2 = t_32 b3 / n2.
    """
    against = orthonormal.rotations.mT @ grad_rotations
    turn = against - against.mT
    _, second, third = orthonormal.rotations.unbind(-1)
    second_to_third = turn[..., 2, 1, None] / orthonormal.second_norm
    first_to_third = turn[..., 2, 0, None] - second_to_third * orthonormal.along
    grad_first = (turn[..., 1, 0, None] * second + first_to_third * third) / orthonormal.first_norm
    grad_second = second_to_third * third
    return torch.stack([grad_first, grad_second], dim=-1).flatten(-2)


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)


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
    """The kinematic chain of one body, for all joints at once.

    Joint j rests at r_j. Its rotation in the body's frame is that of its parent times its own,
    W_j = W_p(j) R_j, with W = I above the root. What moves with it is turned about the posed joint:
    x -> W_j x + s_j. Parent and child agree on where the joint is, W_p r_j + s_p = W_j r_j + s_j,
    so with `a <= j` for "a is j or above it"

        s_j = sum over a <= j of (W_p(a) - W_a) r_a,        joint q_j = W_j r_j + s_j.

    Backward, from F_j = grad s_j and grad W_j:

    - All that is below j moves with the force S_j = sum over d >= j of F_d; so
      grad r_j = (W_p(j) - W_j)^T S_j.
    - Turning j by a small matrix D in the body's frame, W_p dR_j = D W_j, moves every d >= j
      rigidly about q_j: dW_d = D W_d and ds_d = D (s_d - q_j). So the gradient with respect to D is
      M_j = sum over d >= j of (grad W_d W_d^T + F_d s_d^T) - S_j q_j^T, and
      grad R_j = W_p^T M_j W_j.

    The last step uses that R_j is orthonormal; it is still the gradient for all nine numbers of it.
    """

    def __init__(self, body: Body) -> None:
        """Precomputes each joint's ancestors."""
        above = ancestors(body.parents)
        like = body.v_template
        self._jumps = [torch.tensor(jump, device=like.device) for jump in _jumps(body.parents)]
        self._ancestry = torch.tensor(above).to(like)
        """(J, J): 1 where the column is the row's joint or above it."""
        self._descent = self._ancestry.T.contiguous()
        self._identity = torch.eye(3).to(like)

    def forward(self, rotations: Tensor, rest: Tensor) -> Chained:
        """Rotations (N, J, 3, 3) against the parents and joints at rest (N, J, 3) -> the chain."""
        world, parents = self._along(rotations)
        rotated_rest = (world @ rest[..., None])[..., 0]
        parent_rest = (parents @ rest[..., None])[..., 0]
        shift = self._ancestry @ (parent_rest - rotated_rest)
        return Chained(torch.cat([world, shift[..., None]], dim=-1), parents, shift + rotated_rest)

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

        Pointer jumping: after k rounds a joint's product spans 2^k of its ancestors. One more
        matrix, the identity above the root, ends every path.
        """
        top = self._identity.expand(len(rotations), 1, 3, 3)
        world = torch.cat([rotations, top], dim=1)
        for ancestors in self._jumps:
            world = world.index_select(1, ancestors) @ world
        parents = world.index_select(1, self._jumps[0])
        return world[:, :-1], parents[:, :-1]


def ancestors(parents: tuple[int, ...]) -> list[list[float]]:
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
        """Reads the rest joints and their shape basis from `body`."""
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
        """Gradients of rotations (N, 24, 3, 3) and betas (N, B) from the outputs' gradients."""
        grad_rotations, grad_rest = self._chain.backward(posed.chained, grad_transforms)
        betas = len(self._directions)
        _, grad_betas, grad_feature = grad_blend.tensor_split([1, 1 + betas], dim=1)
        grad_betas = grad_betas + grad_rest.flatten(1) @ self._directions.T
        root, others = grad_rotations[:, :1], grad_rotations[:, 1:]
        others = others + grad_feature.unflatten(1, (-1, 3, 3))
        return torch.cat([root, others], dim=1), grad_betas
