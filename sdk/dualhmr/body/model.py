"""A body in PyTorch, ready for computing."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body_files import BodyArrays, BodyParts, check_fits, fitting_arrays, read_body


@dataclass(frozen=True, eq=False)
class Body(BodyParts[Tensor]):
    """SMPL's 24 joints, V vertices and F triangles. Metres; x left, y up, z front.

    Build it with `load_body`, which reads and checks files.
    """

    @classmethod
    def from_arrays(cls, arrays: BodyArrays) -> "Body":
        """The same body as tensors; they share memory with the arrays."""
        return cls(**_converted(arrays, np.ndarray, torch.from_numpy))

    def arrays(self) -> BodyArrays:
        """The same body in NumPy, real numbers in single precision."""
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
        """(1 + B + 207, 3, V) the rest vertices for each of `Pose.blend`: template, betas, pose."""
        shapes = torch.cat([self.v_template[..., None], self.shapedirs, self.posedirs], dim=-1)
        return shapes.permute(2, 1, 0).contiguous()

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Body":
        """The same body with its tensors on `device`, its real ones in `dtype`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        return Body(**_converted(self, Tensor, moved))


def _converted(body: BodyParts[Any], kind: type, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """The fields by name, those that are arrays of `kind` converted."""
    values = [(field.name, getattr(body, field.name)) for field in fields(body)]
    return {name: convert(value) if isinstance(value, kind) else value for name, value in values}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    on_host = tensor.detach().cpu()
    return (on_host.float() if on_host.is_floating_point() else on_host).numpy()


def load_body(path: str | os.PathLike[str] | None = None) -> Body:
    """Reads a body file; None is the free body that comes with the package.

    `.npz` and `.pkl` in SMPL's layout are understood; of more than 10 betas the first 10 are used.
    A `.pkl` is read as data: a file that asks to run anything is refused.

    Raises FileNotFoundError, or ValueError saying what in the file is damaged, missing or refused.
    """
    return Body.from_arrays(read_body(path))


def fitting_body(body: str | os.PathLike[str] | Body | None, *, needed: str, networks: str) -> Body:
    """As `fitting_arrays`, in PyTorch."""
    if isinstance(body, Body):
        check_fits(body, needed=needed, networks=networks)
        return body
    return Body.from_arrays(fitting_arrays(body, needed=needed, networks=networks))
