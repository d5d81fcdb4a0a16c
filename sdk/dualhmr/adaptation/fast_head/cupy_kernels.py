"""CUDA kernels through CuPy, which compiles them where they run; not run on a GPU yet.

Needs CuPy 14 for the CUDA that PyTorch is built with, such as `cupy-cuda13x`.
"""

import importlib
import logging
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch

from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, Kernel, KernelVariant, Launch

_log = logging.getLogger("dualhmr")


@lru_cache(maxsize=1)
def cuda_kernels() -> CudaKernels | None:
    """What compiles kernels; None, with a warning, where CuPy cannot be imported."""
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # CuPy raises others than ImportError where a library is missing
        _log.warning(
            "steps run in PyTorch alone, slower, as CuPy cannot be imported: %s; "
            'pip install "dualhmr[cuda13]" or "dualhmr[cuda12]"',
            error,
        )
        return None
    return CudaKernels(partial(_compiled, cupy))


def _compiled(cupy: Any, variant: KernelVariant) -> Kernel:
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
