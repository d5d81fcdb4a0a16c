"""The sums on large matrices on a GPU: rounds in PyTorch, Adam by one kernel, in place.

Held to `TorchArithmetic` with the kernel compiled as C++; it has not run on a GPU yet.
"""

import logging
from functools import lru_cache

import torch
from torch import Tensor

from dualhmr.adaptation.structured import collapsed
from dualhmr.adaptation.structured.affine_head import DECODE, FIRST, SECOND, Matrices
from dualhmr.adaptation.structured.arithmetic import Arithmetic, Moments, Pace, TorchArithmetic
from dualhmr.adaptation.structured.fused_adam import FusedAdam
from dualhmr.adaptation.structured.outer import Outer
from dualhmr.adaptation.structured.rounds import Rounds, Slopes

_log = logging.getLogger(__name__)


class CollapsedArithmetic(TorchArithmetic):
    """`TorchArithmetic` with the rounds of the collapsed head: see `collapsed`."""

    def __init__(self) -> None:
        self._matrices: Matrices = {}
        self._round_transposed: Tensor | None = None

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Rounds:
        """See `rounds.go_forward`."""
        made = collapsed.go_forward(matrices, constant, start, iterations)
        self._matrices, self._round_transposed = matrices, made.round_transposed
        return made.rounds

    def go_backward(self, matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
        """See `rounds.go_backward`; of the matrices that the rounds went forward with last."""
        same = all(matrices[name] is self._matrices.get(name) for name in (FIRST, SECOND, DECODE))
        if not same or self._round_transposed is None:
            raise ValueError("go_backward needs the matrices that go_forward was given just before")
        return collapsed.go_backward(matrices, self._round_transposed, gradient, iterations)


class CudaArithmetic(CollapsedArithmetic):
    """For float32 and float64 on a GPU; by default with the kernel compiled by CuPy."""

    def __init__(self, adam: FusedAdam) -> None:
        super().__init__()
        self._adam = adam

    def begin(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """A copy, and moments of zero."""
        copy = matrix.clone(memory_format=torch.contiguous_format)
        return copy, Moments(torch.zeros_like(copy), torch.zeros_like(copy))

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: Pace
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` and `moments`."""
        self._adam(matrix, moments, gradient, pace)
        return matrix, moments


def cuda_arithmetic() -> Arithmetic:
    """The fastest on a GPU: with the fused kernel, or, without CuPy, in PyTorch alone."""
    if not _has_cupy():
        return TorchArithmetic()
    from dualhmr.adaptation.structured.cupy_kernels import compiled

    return CudaArithmetic(FusedAdam(compiled))


@lru_cache(maxsize=1)
def _has_cupy() -> bool:
    """Whether CuPy can be imported; says so once where it cannot."""
    try:
        from dualhmr.adaptation.structured import cupy_kernels  # noqa: F401
    except ImportError as error:
        _log.warning("Adam runs in PyTorch, not fused, as CuPy cannot be imported: %s", error)
        return False
    return True
