"""Which arithmetic is the fastest where a tensor is."""

import torch
from torch import Tensor

from dualhmr.adaptation.structured.arithmetic import Arithmetic, TorchArithmetic


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """For float32 and float64 compiled loops on a CPU, a kernel on a GPU; PyTorch otherwise."""
    # Imported only where they are used: numba and CuPy take a while to load.
    if tensor.dtype not in (torch.float32, torch.float64):
        return TorchArithmetic()
    if tensor.device.type == "cpu":
        from dualhmr.adaptation.structured.compiled import CompiledArithmetic

        return CompiledArithmetic()
    if tensor.device.type == "cuda":
        from dualhmr.adaptation.structured.cuda_arithmetic import cuda_arithmetic

        return cuda_arithmetic()
    return TorchArithmetic()
