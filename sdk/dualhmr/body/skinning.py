"""Linear blend skinning in SMPL's formulation (Loper et al., SIGGRAPH Asia 2015), differentiable.

Rotations are relative to the parent joint, (N, 24, 3, 3), the first being the global orientation.
Results are metres in the body's own frame turned by the global orientation, before translation.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.body_files import JOINT_COUNT


class Pose(NamedTuple):
    """A posed skeleton and the numbers that displace its skin."""

    joints: Tensor
    """(N, 24, 3) posed joints."""
    transforms: Tensor
    """(N, 24, 3, 4) rest position -> posed position of what moves with each joint."""
    blend: Tensor
    """(N, 1 + B + 207): one, the betas and the pose feature; weights of the blend shapes."""


class Posed(NamedTuple):
    """What `skin` returns."""

    vertices: Tensor
    """(N, V, 3)."""
    joints: Tensor
    """(N, 24, 3)."""


def pose_skeleton(body: Body, rotations: Tensor, betas: Tensor) -> Pose:
    """Rotations (N, 24, 3, 3) and betas (N, B) -> the posed skeleton.

    Raises ValueError where the shapes do not fit the body.
    """
    _check_shapes(body, rotations, betas)
    rest = rest_joints(body, betas)
    parents = list(body.parents[1:])
    offsets = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, parents]], dim=1)
    world = _chain(_affine(rotations, offsets), body.parents)
    world_rotations, joints = world[..., :3, :3], world[..., :3, 3]
    shift = joints - (world_rotations @ rest[..., None])[..., 0]
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    feature = (rotations[:, 1:] - identity).flatten(1)
    blend = torch.cat([torch.ones_like(betas[:, :1]), betas, feature], dim=1)
    return Pose(joints, torch.cat([world_rotations, shift[..., None]], dim=-1), blend)


def rest_joints(body: Body, betas: Tensor) -> Tensor:
    """Betas (N, B) -> the joints (N, 24, 3) of the shaped body at rest."""
    return body.joint_template + torch.einsum("nb,jcb->njc", betas, body.joint_directions)


def skin(body: Body, rotations: Tensor, betas: Tensor) -> Posed:
    """Rotations (N, 24, 3, 3) and betas (N, B) -> vertices and joints.

    Raises ValueError where the shapes do not fit the body.
    """
    pose = pose_skeleton(body, rotations, betas)
    return Posed(skin_vertices(body, pose), pose.joints)


def skin_vertices(body: Body, pose: Pose) -> Tensor:
    """The vertices (N, V, 3) of a posed skeleton."""
    _, shape_weights, feature = pose.blend.split(
        [1, body.beta_count, body.posedirs.shape[-1]], dim=1
    )
    shaped = body.v_template.flatten() + shape_weights @ body.shapedirs.flatten(0, 1).T
    at_rest = (shaped + feature @ body.posedirs.flatten(0, 1).T).unflatten(1, (-1, 3))
    blended = (body.weights @ pose.transforms.flatten(2)).unflatten(2, (3, 4))
    return (blended[..., :3] @ at_rest[..., None])[..., 0] + blended[..., 3]


def _check_shapes(body: Body, rotations: Tensor, betas: Tensor) -> None:
    people = rotations.shape[0]
    if rotations.shape != (people, JOINT_COUNT, 3, 3):
        raise ValueError(f"rotations have shape {tuple(rotations.shape)}, expected (N, 24, 3, 3)")
    if betas.shape != (people, body.beta_count):
        raise ValueError(
            f"betas have shape {tuple(betas.shape)}, expected ({people}, {body.beta_count}) "
            f"for {people} persons and body {body.name!r}"
        )


def _affine(rotations: Tensor, offsets: Tensor) -> Tensor:
    """(N, J, 3, 3) and (N, J, 3) -> homogeneous (N, J, 4, 4)."""
    top = torch.cat([rotations, offsets[..., None]], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], dim=-2)


def _chain(local: Tensor, parents: tuple[int, ...]) -> Tensor:
    """Products of local transforms (N, J, 4, 4) along each joint's path from the root.

    Pointer jumping: a joint's product over 2^k steps up is its own over 2^(k-1) steps, behind its
    ancestor's; the tree is nine joints deep, so four rounds of products replace a walk over joints.
    """
    identity = torch.eye(4, dtype=local.dtype, device=local.device)
    # Not len(), which a tracer takes for a constant.
    identity = identity.expand(local.shape[0], 1, 4, 4)
    world = local
    for ancestors in _ancestor_rounds(parents):
        world = torch.cat([world, identity], dim=1)[:, ancestors] @ world
    return world


@lru_cache(maxsize=8)
def _ancestor_rounds(parents: tuple[int, ...]) -> tuple[list[int], ...]:
    """The ancestor 1, 2, 4, ... steps above each joint; J, one past the last, above the root."""
    above = [parent if parent >= 0 else len(parents) for parent in parents]
    rounds = []
    while any(ancestor < len(parents) for ancestor in above):
        rounds.append(above)
        extended = [*above, len(parents)]
        above = [extended[ancestor] for ancestor in above]
    return tuple(rounds)
