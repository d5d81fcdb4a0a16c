"""Weights in `.safetensors` files: data only, nothing in them can run."""

import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn


def load_weights(module: nn.Module, path: Path) -> None:
    """Copies the file's tensors into `module`, converting to its dtypes.

    Raises FileNotFoundError, or ValueError where the file is damaged or does not fit the module.
    """
    try:
        state = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: damaged or truncated weights ({error})") from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit the network: {error}") from error


def save_weights(module: nn.Module, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes the module's state dict, its real tensors in `dtype` where one is given.

    Raises ValueError where a tensor is not finite, in `dtype` if not before.
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
    """Writes tensors by name, into a file that everybody may read whom the umask lets."""
    safetensors.torch.save_file(dict(tensors), path)
    # safetensors leaves the file to its owner alone.
    path.chmod(_usual_mode())


def _usual_mode() -> int:
    """The permissions of a new file. There is no way to read the umask but to set it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask
