"""CUDA kernels as they are compiled and launched, whoever does that.

They are written in CUDA C++, in files beside their callers. `cupy_kernels.py` compiles them where
they run; tests compile them as C++, and for GPUs. They have not run on a GPU yet.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

_REAL = {torch.float32: "float", torch.float64: "double"}


class KernelVariant(NamedTuple):
    """A kernel, and what it is compiled for."""

    file: tuple[str, str]
    """Package and name of the file with the source."""
    name: str
    dtype: torch.dtype
    sizes: tuple[tuple[str, int], ...]
    """Macros by name."""

    @property
    def options(self) -> tuple[str, ...]:
        """For the compiler."""
        return f"-DREAL={_REAL[self.dtype]}", *(f"-D{name}={n}" for name, n in self.sizes)

    @property
    def source(self) -> str:
        """CUDA C++, with what all kernels share."""
        return _text("dualhmr.adaptation.fast_head", "kernels.cuh") + _text(*self.file)


class Launch(NamedTuple):
    """A grid of blocks, and arguments: ints are 64 bits wide and may be addresses."""

    grid: tuple[int, int, int]
    threads: int
    """Of a block."""
    arguments: tuple[int | float, ...]


Kernel = Callable[[Launch, torch.device], None]
"""Launches asynchronously, in order with PyTorch's own work on the device."""
CompileKernel = Callable[[KernelVariant], Kernel]


class CudaKernels:
    """Compiles the variants that are asked for, and keeps them."""

    def __init__(self, compile_kernel: CompileKernel) -> None:
        self._compile = compile_kernel
        self._kernels: dict[KernelVariant, Kernel] = {}

    def launch(
        self,
        variant: KernelVariant,
        grid: tuple[int, int, int],
        threads: int,
        arguments: tuple[Tensor | int | float | None, ...],
    ) -> None:
        """Launches on the tensors' device; None is a null pointer.

        Raises ValueError for tensors of another dtype than the variant's, or not on one device:
        a kernel would read nonsense.
        """
        tensors = [each for each in arguments if isinstance(each, Tensor)]
        devices = {tensor.device for tensor in tensors}
        dtypes = {tensor.dtype for tensor in tensors} - {torch.int32}
        if len(devices) > 1 or dtypes != {variant.dtype}:
            raise ValueError(
                f"kernel {variant.name} got {', '.join(map(str, dtypes))} on "
                f"{', '.join(map(str, devices))}; expected {variant.dtype} on one device"
            )
        if variant not in self._kernels:
            self._kernels[variant] = self._compile(variant)
        numbers = tuple(
            each.data_ptr() if isinstance(each, Tensor) else each or 0 for each in arguments
        )
        self._kernels[variant](Launch(grid, threads, numbers), tensors[0].device)


@lru_cache(maxsize=8)
def _text(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")
