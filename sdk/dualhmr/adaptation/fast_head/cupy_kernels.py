"""CUDA kernels through CuPy, which compiles them where they run; not run on a GPU yet.

Needs CuPy 14 for the CUDA that PyTorch is built with, such as `cupy-cuda13x`.
"""

from typing import NamedTuple

import cupy
import torch

from dualhmr.adaptation.fast_head.cuda_kernels import Kernel, KernelVariant, Launch


def compiled(variant: KernelVariant) -> Kernel:
    """Compiles now, with CuPy's cache on disk; launched on PyTorch's current stream."""
    options = ("-std=c++17", *variant.options)
    kernel = cupy.RawKernel(variant.source, variant.name, options=options)

    def run(launch: Launch, device: torch.device) -> None:
        pointer = torch.cuda.current_stream(device).cuda_stream
        index = torch.cuda.current_device() if device.index is None else device.index
        with cupy.cuda.Device(index), cupy.cuda.Stream.from_external(_OfTorch(pointer)):
            kernel(launch.grid, (launch.threads, 1, 1), launch.arguments)

    return run


class _OfTorch(NamedTuple):
    """A stream of PyTorch, by the protocol with which libraries share streams."""

    pointer: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer
