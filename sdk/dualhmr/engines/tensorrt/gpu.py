"""The GPU that a device string means, seen through PyTorch or, without its CUDA, CuPy."""

import importlib
import re
from dataclasses import dataclass
from typing import Any

from dualhmr.torch_extra import torch_installed


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    index: int
    name: str
    capability: str
    """Its compute capability, as "sm86"."""
    seen_by: str
    """The library that found it and whose arrays live on it: "torch" or "cupy"."""


def find_gpu(device: str = "cuda") -> Gpu | None:
    """The GPU of "cuda" (the current one) or "cuda:1"; None where there is no such GPU.

    Raises ValueError for a device that is no GPU.
    """
    form = re.fullmatch(r"cuda(?::(\d+))?", device)
    if form is None:
        raise ValueError(f'TensorRT runs on "cuda" or "cuda:1", not on {device!r}')
    index = int(form[1]) if form[1] else None
    if torch_installed():
        torch = importlib.import_module("torch")
        # PyTorch for AMD calls its GPUs "cuda" too.
        if torch.cuda.is_available() and torch.version.cuda is not None:
            return _seen_by_torch(torch, index)
    return _seen_by_cupy(index)


def _seen_by_torch(torch: Any, index: int | None) -> Gpu | None:
    if index is None:
        index = int(torch.cuda.current_device())
    if index >= torch.cuda.device_count():
        return None
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(index, str(torch.cuda.get_device_name(index)), f"sm{major}{minor}", "torch")


def _seen_by_cupy(index: int | None) -> Gpu | None:
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # CuPy missing, or no driver: its error classes differ between versions
        return None
    index = index or 0
    if index >= count:
        return None
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return Gpu(index, name, f"sm{cupy.cuda.Device(index).compute_capability}", "cupy")
