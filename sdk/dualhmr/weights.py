"""Weights in `.safetensors` files, which hold data only and cannot run code."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dualhmr.untrusted import one_value_error


@torch.no_grad()
def load_weights(module: nn.Module, path: Path) -> None:
    """Copies the file's tensors into `module`, converting to its dtypes.

    Raises FileNotFoundError, or ValueError if the file is damaged or does not fit the module.
    """
    own = module.state_dict()
    with _opened(path) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        with one_value_error(path, "the weights do not fit the network"):
            # One number a tensor: PyTorch compares names and shapes.
            zero = torch.zeros(())
            module.load_state_dict({name: zero.expand(shape) for name, shape in shapes.items()})
        # One after the other: networks of gigabytes are not in memory twice.
        for name in shapes:
            with one_value_error(path, "damaged or truncated weights"):
                tensor = file.get_tensor(name)
            if not tensor.isfinite().all():
                raise ValueError(f"{path}: {name[:80]} holds numbers that are not finite")
            if tensor.is_floating_point() != own[name].is_floating_point():
                raise ValueError(
                    f"{path}: the weights do not fit the network: {name} is {tensor.dtype}"
                )
            own[name].copy_(tensor)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    with one_value_error(path, "damaged or truncated weights"):
        return safetensors.safe_open(path, framework="pt")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors by name. Raises FileNotFoundError, or ValueError if it is damaged."""
    with _opened(path) as file, one_value_error(path, "damaged or truncated weights"):
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def save_weights(module: nn.Module, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes the module's state dict, its floating-point tensors in `dtype` unless it is None.

    Raises ValueError if a tensor is not finite, before or after the conversion.
    """
    state = {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else None).contiguous().cpu()
        for name, tensor in module.state_dict().items()
    }
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite in {tensor.dtype}")
    save_tensors(state, path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors by name, with a new file's usual permissions. Raises OSError."""
    try:
        safetensors.torch.save_file(dict(tensors), path)
    except safetensors.SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if not code:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    # safetensors lets only the owner read the file. The umask can only be read by setting it.
    umask = os.umask(0o077)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
