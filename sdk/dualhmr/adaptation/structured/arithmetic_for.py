"""Which arithmetic is the fastest where a tensor is."""

import torch
from torch import Tensor

from dualhmr.adaptation.structured.arithmetic import Arithmetic, TorchArithmetic


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """Compiled loops for float32 and float64 on a CPU, PyTorch otherwise."""
    if tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64):
        # Imported only where it is used: numba takes a while to load.
        from dualhmr.adaptation.structured.compiled import CompiledArithmetic

        return CompiledArithmetic()
    return TorchArithmetic()
