"""Which `Arithmetic` is the fastest on a device, with the libraries that are installed."""

import logging
from functools import lru_cache

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.arithmetic import Arithmetic, TorchArithmetic

_log = logging.getLogger(__name__)


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """The fastest where `tensor` is; float32 and float64 only, PyTorch for other dtypes."""
    # Imported only where they are used: numba and CuPy take a while to load.
    if tensor.dtype not in (torch.float32, torch.float64):
        return TorchArithmetic()
    if tensor.device.type == "cpu":
        from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic

        return CompiledArithmetic()
    if tensor.device.type == "cuda":
        return cuda_arithmetic()
    return TorchArithmetic()


def cuda_arithmetic() -> Arithmetic:
    """The fastest on a GPU: with the fused kernel, or, without CuPy, in PyTorch alone."""
    if not _has_cupy():
        return TorchArithmetic()
    from dualhmr.adaptation.fast_head.cuda_arithmetic import CudaArithmetic
    from dualhmr.adaptation.fast_head.cupy_kernels import compiled

    return CudaArithmetic(compiled)


@lru_cache(maxsize=1)
def _has_cupy() -> bool:
    """Whether CuPy can be imported; logs a warning once where it cannot."""
    try:
        from dualhmr.adaptation.fast_head import cupy_kernels  # noqa: F401
    except ImportError as error:
        _log.warning("Adam runs in PyTorch, not fused, as CuPy cannot be imported: %s", error)
        return False
    return True
