"""The CUDA kernel through CuPy, which compiles it where it runs; not run on a GPU yet.

Needs CuPy 14 for the CUDA that PyTorch is built with, such as `cupy-cuda13x`.
"""

from functools import cache
from typing import NamedTuple

import cupy
import torch

from dualhmr.adaptation.fast_head.cuda_arithmetic import (
    KERNEL,
    Kernel,
    KernelVariant,
    Launch,
    kernel_source,
)


@cache
def compiled(variant: KernelVariant) -> Kernel:
    """Compiled at the first launch, and cached on disk; launched on PyTorch's current stream."""
    kernel = cupy.RawKernel(kernel_source(), KERNEL, options=("-std=c++17", *variant.options))

    def run(launch: Launch, device: torch.device) -> None:
        pointer = torch.cuda.current_stream(device).cuda_stream
        index = torch.cuda.current_device() if device.index is None else device.index
        with cupy.cuda.Device(index), cupy.cuda.Stream.from_external(_OfTorch(pointer)):
            kernel(launch.grid, launch.block, launch.arguments)

    return run


class _OfTorch(NamedTuple):
    """A stream of PyTorch, by the protocol with which libraries share streams."""

    pointer: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer
