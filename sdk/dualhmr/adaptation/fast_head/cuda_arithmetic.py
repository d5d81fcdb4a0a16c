"""The head's rounds with the head collapsed: the same numbers from half as many products.

A round is affine in the estimate alone,

    e_{i+1} = A e_i + b,    A = I + D W2 W1e,    b = D (W2 k + b2) + bd,

with k = W1g c + b1. So D W2 (E, H) is made once per step; the rounds, which wait for each other,
take one product with A (E, E) each, of 157 x 157 numbers instead of three of up to 1024 x 1024; and
the hidden layers of all rounds, of which the matrices' gradients are made, follow at once. Backward
likewise: g_i = A^T g_{i+1}, then g_h2 = D^T g and g_h1 = W2^T g_h2 for all rounds.

Of 10 rounds, 60 products become 27. The one large product that is new reads W2 once, where ten
rounds there and back read it twenty times; so it should pay on a GPU, where each product is a
kernel with a latency of its own, and for many persons, whose matrices do not stay in the cache.
That is counted, not measured: it has not run on a GPU yet. On a CPU it costs more than it saves.
"""

import logging
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.fast_head.arithmetic import (
    ActivationGradients,
    Activations,
    AdamCoefficients,
    Arithmetic,
    Moments,
    Outer,
    TorchArithmetic,
)
from dualhmr.adaptation.fast_head.fused_adam import FusedAdam


class Collapsed(NamedTuple):
    """The rounds of a head at one step, forwards and what backwards needs of it."""

    rounds: Activations
    round_transposed: Tensor
    """(N, E, E): the transpose of A."""


def _go_forward(matrices: Matrices, constant: Tensor, start: Tensor, iterations: int) -> Collapsed:
    """As `arithmetic.go_forward`."""
    first, second, decode = matrices[FIRST], matrices[SECOND], matrices[DECODE]
    from_first = decode @ second
    identity = torch.eye(len(start), dtype=start.dtype, device=start.device)
    transposed = torch.baddbmm(identity.expand(len(constant), -1, -1), first, from_first.mT)
    bias = torch.baddbmm(matrices[DECODE_BIAS], matrices[SECOND_BIAS], decode.mT)
    bias = torch.baddbmm(bias, constant, from_first.mT)
    estimates = [start.expand(len(constant), 1, -1)]
    for _ in range(iterations):
        estimates.append(torch.baddbmm(bias, estimates[-1], transposed))
    through = torch.cat(estimates, dim=1)
    firsts = torch.baddbmm(constant, through[:, :-1], first)
    seconds = torch.baddbmm(matrices[SECOND_BIAS], firsts, second.mT)
    return Collapsed(Activations(through, firsts, seconds), transposed)


def _go_backward(
    matrices: Matrices, round_transposed: Tensor, gradient: Tensor, iterations: int
) -> ActivationGradients:
    """As `arithmetic.go_backward`."""
    slopes = [gradient.unsqueeze(1)]
    for _ in range(iterations - 1):
        slopes.append(slopes[-1] @ round_transposed.mT)
    estimates = torch.cat(slopes[::-1], dim=1)
    seconds = estimates @ matrices[DECODE]
    return ActivationGradients(estimates, seconds @ matrices[SECOND], seconds)


# The sums on large matrices on a GPU: rounds in PyTorch, Adam by one kernel, in place.
#
# Held to `TorchArithmetic` with the kernel compiled as C++; it has not run on a GPU yet.


_log = logging.getLogger(__name__)


class CollapsedArithmetic(TorchArithmetic):
    """`TorchArithmetic` with the rounds of the collapsed head: see `collapsed`."""

    def __init__(self) -> None:
        self._matrices: Matrices = {}
        self._round_transposed: Tensor | None = None

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `arithmetic.go_forward`."""
        made = _go_forward(matrices, constant, start, iterations)
        self._matrices, self._round_transposed = matrices, made.round_transposed
        return made.rounds

    def go_backward(
        self, matrices: Matrices, gradient: Tensor, iterations: int
    ) -> ActivationGradients:
        """See `arithmetic.go_backward`; of the matrices that the rounds went forward with last."""
        same = all(matrices[name] is self._matrices.get(name) for name in (FIRST, SECOND, DECODE))
        if not same or self._round_transposed is None:
            raise ValueError("go_backward needs the matrices that go_forward was given just before")
        return _go_backward(matrices, self._round_transposed, gradient, iterations)


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
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` and `moments`."""
        self._adam(matrix, moments, gradient, pace)
        return matrix, moments


def cuda_arithmetic() -> Arithmetic:
    """The fastest on a GPU: with the fused kernel, or, without CuPy, in PyTorch alone."""
    if not _has_cupy():
        return TorchArithmetic()
    from dualhmr.adaptation.fast_head.cupy_kernels import compiled

    return CudaArithmetic(FusedAdam(compiled))


@lru_cache(maxsize=1)
def _has_cupy() -> bool:
    """Whether CuPy can be imported; says so once where it cannot."""
    try:
        from dualhmr.adaptation.fast_head import cupy_kernels  # noqa: F401
    except ImportError as error:
        _log.warning("Adam runs in PyTorch, not fused, as CuPy cannot be imported: %s", error)
        return False
    return True
