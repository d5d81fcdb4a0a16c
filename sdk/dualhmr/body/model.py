"""A body model in PyTorch and differentiable linear blend skinning.

SMPL's formulation (Loper et al., SIGGRAPH Asia 2015). Rotations (N, 24, 3, 3) are relative to the
parent joint, the first is the global orientation. Results are metres in the body's own frame turned
by the global orientation, before translation.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_COUNT, BodyArrays, BodyParts, ancestor_rounds
from dualhmr.body.files import ExtraJoints, check_matching, matching_arrays, read_body
from dualhmr.torch_threads import one_thread


@dataclass(frozen=True, eq=False)
class Body(BodyParts[Tensor]):
    """SMPL's 24 joints, V vertices and F triangles. Metres; x left, y up, z front.

    Build it with `load_body`, which reads and checks files.
    """

    @classmethod
    def from_arrays(cls, arrays: BodyArrays) -> "Body":
        """The same body as tensors; they share memory with the arrays."""
        with one_thread():  # in a forked process there may be no others
            return cls(**_converted(arrays, np.ndarray, torch.from_numpy))

    def arrays(self) -> BodyArrays:
        """The same body in NumPy, with floats in single precision."""
        return BodyArrays(**_converted(self, Tensor, _array))

    @cached_property
    def joint_template(self) -> Tensor:
        """(24, 3) rest joints of the mean shape."""
        return self.joint_regressor @ self.v_template

    @cached_property
    def joint_directions(self) -> Tensor:
        """(24, 3, B) displacement of the rest joints for each beta."""
        return torch.einsum("jv,vcb->jcb", self.joint_regressor, self.shapedirs)

    @cached_property
    def blend_shapes(self) -> Tensor:
        """(1 + B + 207, 3, V) template, `shapedirs` and `posedirs`, weighted by `Pose.blend`."""
        shapes = torch.cat([self.v_template[..., None], self.shapedirs, self.posedirs], dim=-1)
        return shapes.permute(2, 1, 0).contiguous()

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Body":
        """The same body with its tensors on `device`, and its floating-point ones in `dtype`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        return Body(**_converted(self, Tensor, moved))


def _converted(body: BodyParts[Any], kind: type, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """The fields by name, those of type `kind` converted."""
    values = [(field.name, getattr(body, field.name)) for field in fields(body)]
    return {name: convert(value) if isinstance(value, kind) else value for name, value in values}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    on_host = tensor.detach().cpu()
    return (on_host.float() if on_host.is_floating_point() else on_host).numpy()


def load_body(
    path: str | os.PathLike[str] | None = None, *, extra_joints: ExtraJoints | None = None
) -> Body:
    """Reads a body file; None is the free body in the package. See `read_body`."""
    return Body.from_arrays(read_body(path, extra_joints=extra_joints))


def matching_body(
    body: str | os.PathLike[str] | Body | None,
    *,
    needed: str,
    networks: str,
    extra_joints: ExtraJoints | None = None,
) -> Body:
    """Like `matching_arrays`, in PyTorch."""
    if isinstance(body, Body):
        if extra_joints is None:
            check_matching(body, needed=needed, networks=networks)
            return body
        arrays: str | os.PathLike[str] | BodyArrays | None = body.arrays()
    else:
        arrays = body
    return Body.from_arrays(
        matching_arrays(arrays, needed=needed, networks=networks, extra_joints=extra_joints)
    )


class Pose(NamedTuple):
    """A posed skeleton and the weights of its blend shapes."""

    joints: Tensor
    """(N, 24, 3) posed joints."""
    transforms: Tensor
    """(N, 24, 3, 4) rest position -> posed position of a point that moves with each joint."""
    blend: Tensor
    """(N, 1 + B + 207): 1, the betas and the pose feature."""


class Posed(NamedTuple):
    """A posed mesh and skeleton."""

    vertices: Tensor
    """(N, V, 3)."""
    joints: Tensor
    """(N, 24, 3)."""


def pose_skeleton(body: Body, rotations: Tensor, betas: Tensor) -> Pose:
    """Rotations (N, 24, 3, 3) and betas (N, B) -> the posed skeleton.

    Raises ValueError if the shapes do not fit the body.
    """
    _check_shapes(body, rotations, betas)
    rest = rest_joints(body, betas)
    parents = list(body.parents[1:])
    offsets = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, parents]], dim=1)
    world = _chain(_affine(rotations, offsets), body.parents)
    world_rotations, joints = world[..., :3, :3], world[..., :3, 3]
    # A vertex x moves with joint j to G_j (x - rest_j) + joint_j = G_j x + shift_j.
    shift = joints - (world_rotations @ rest[..., None])[..., 0]
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    # R - I of the 23 joints below the root: zero in the rest pose, which has no pose correction.
    feature = (rotations[:, 1:] - identity).flatten(1)
    blend = torch.cat([torch.ones_like(betas[:, :1]), betas, feature], dim=1)
    return Pose(joints, torch.cat([world_rotations, shift[..., None]], dim=-1), blend)


def rest_joints(body: Body, betas: Tensor) -> Tensor:
    """Betas (N, B) -> the joints (N, 24, 3) of the shaped body at rest."""
    return body.joint_template + torch.einsum("nb,jcb->njc", betas, body.joint_directions)


def skin(body: Body, rotations: Tensor, betas: Tensor) -> Posed:
    """Rotations (N, 24, 3, 3) and betas (N, B) -> vertices and joints.

    Raises ValueError if the shapes do not fit the body.
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

    Pointer jumping: the product over 2^k steps up is that of the ancestor 2^(k-1) steps up, times
    the joint's own over 2^(k-1) steps. SMPL's tree is nine joints deep, so four batched products
    replace a loop over 24 joints.
    """
    identity = torch.eye(4, dtype=local.dtype, device=local.device)
    # Not len(local), which a tracer records as a constant.
    identity = identity.expand(local.shape[0], 1, 4, 4)
    world = local
    for ancestors in ancestor_rounds(parents):
        world = torch.cat([world, identity], dim=1)[:, ancestors] @ world
    return world
