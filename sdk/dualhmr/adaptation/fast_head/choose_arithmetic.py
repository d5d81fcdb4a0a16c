"""Which `Arithmetic` is the fastest on a device, with the libraries that are installed."""

import logging
from functools import lru_cache

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.arithmetic import Arithmetic, TorchArithmetic
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.compiling import numba_installed

_log = logging.getLogger("dualhmr")


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """The fastest where `tensor` is; float32 and float64 only, PyTorch for other dtypes.

    On a GPU eager steps are PyTorch's; `CapturedHeads` has kernels of its own.
    """
    # Imported only where it is used: numba takes a while to load.
    if tensor.dtype not in (torch.float32, torch.float64):
        return TorchArithmetic()
    if tensor.device.type == "cpu" and numba_installed():
        from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic

        return CompiledArithmetic()
    return TorchArithmetic()


@lru_cache(maxsize=1)
def cuda_kernels() -> CudaKernels | None:
    """What compiles kernels; None, with a warning, where CuPy cannot be imported."""
    try:
        from dualhmr.adaptation.fast_head.cupy_kernels import compiled
    except Exception as error:  # CuPy raises others than ImportError where a library is missing
        _log.warning(
            "steps run in PyTorch alone, slower, as CuPy cannot be imported: %s; "
            'pip install "dualhmr[cuda13]" or "dualhmr[cuda12]"',
            error,
        )
        return None
    return CudaKernels(compiled)
