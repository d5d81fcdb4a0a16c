"""Weights in `.safetensors` files, which hold data only and cannot run code."""

import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn


def load_weights(module: nn.Module, path: Path) -> None:
    """Copies the file's tensors into `module`, converting to its dtypes.

    Raises FileNotFoundError, or ValueError if the file is damaged or does not fit the module.
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
    """Writes tensors by name, with a new file's usual permissions."""
    safetensors.torch.save_file(dict(tensors), path)
    # safetensors lets only the owner read the file. The umask can only be read by setting it.
    umask = os.umask(0o077)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
