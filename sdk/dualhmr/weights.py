"""Weights in `.safetensors` files: data only, nothing in them can run."""

from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn


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
    safetensors.torch.save_file(state, path)
