"""The sums on large matrices by compiled loops on a CPU: in place, one person after the other.

A person's matrices and moments stay in the cache from step to step as long as nobody else's come
in between, so that it is best to adapt one person at a time.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dualhmr.adaptation.structured import kernels
from dualhmr.adaptation.structured.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.structured.arithmetic import Moments, Pace
from dualhmr.adaptation.structured.outer import Outer
from dualhmr.adaptation.structured.rounds import Rounds, Slopes

# Memory that the system has to find anew for every person costs as much as a few steps.
_SPARE: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = defaultdict(list)


class CompiledArithmetic:
    """As `TorchArithmetic`, for float32 and float64 on a CPU."""

    def begin(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """A copy, and moments of zero."""
        copy, first, second = (_memory_like(matrix) for _ in range(3))
        return copy.copy_(matrix), Moments(first.zero_(), second.zero_())

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Keeps their memory for the next person."""
        for tensor in tensors:
            _SPARE[tensor.shape, tensor.dtype].append(tensor)

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Rounds:
        """See `rounds.go_forward`."""
        persons, _, hidden = constant.shape
        estimates = constant.new_empty(persons, iterations + 1, len(start))
        estimates[:, 0] = start
        firsts = constant.new_empty(persons, iterations, hidden)
        rounds = Rounds(estimates, firsts, torch.empty_like(firsts))
        for i in range(persons):
            kernels.go_forward(
                tuple(_of(matrices[name], i) for name in (FIRST, SECOND, DECODE)),
                (
                    _of(constant, i),
                    *(_of(matrices[name], i) for name in (SECOND_BIAS, DECODE_BIAS)),
                ),
                *(_of(part, i) for part in rounds),
            )
        return rounds

    def go_backward(self, matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
        """See `rounds.go_backward`."""
        persons, hidden = len(gradient), matrices[SECOND].shape[-1]
        estimates = gradient.new_empty(persons, iterations, gradient.shape[-1])
        estimates[:, -1] = gradient
        firsts = gradient.new_zeros(persons, iterations, hidden)
        slopes = Slopes(estimates, firsts, torch.zeros_like(firsts))
        for i in range(persons):
            kernels.go_backward(
                tuple(_of(matrices[name], i) for name in (FIRST, SECOND, DECODE)),
                *(_of(part, i) for part in slopes),
            )
        return slopes

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: Pace
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` and `moments`."""
        for i in range(len(matrix)):
            arrays = (_of(part, i) for part in (matrix, *moments, *gradient))
            kernels.adam(*arrays, pace.beta1, pace.beta2, float(pace.rate), float(pace.floor))
        return matrix, moments


def _of(tensor: Tensor, person: int) -> Any:
    """A person's part of it, as a NumPy array on the same memory."""
    return tensor.numpy()[person]


def _memory_like(tensor: Tensor) -> Tensor:
    try:
        return _SPARE[tensor.shape, tensor.dtype].pop()
    except IndexError:
        return tensor.new_empty(tensor.shape)
