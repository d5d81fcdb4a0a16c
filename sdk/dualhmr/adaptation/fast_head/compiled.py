"""`Arithmetic` on a CPU, by the loops of `dualhmr.adaptation.compiled_loops`."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dualhmr.adaptation.compiled_loops import (
    go_back,
    go_forward,
    gradient_buffer,
    step_numbers,
    take_step,
)
from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FC1_ESTIMATE,
    FC2,
    FC2_BIAS,
    Matrices,
)
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    OuterProducts,
)
from dualhmr.adaptation.optimisers import AdamCoefficients, Moments

# Buffers that no person uses now. Pages that the system maps anew for every person cost as much as
# a few steps.
_SPARE: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = defaultdict(list)


class CompiledArithmetic:
    """For float32 and float64 on a CPU: in place, one person after the other.

    A person's matrices and moments stay in the cache from step to step unless another person's
    come in between, so it is fastest to adapt one person at a time.

    `dualhmr recover` seldom comes here, as `adaptation="numba"` is faster. `dualhmr evaluate` and
    `dualhmr reproduce` do, for batches of people: with `TorchArithmetic` 32 people
    take 2.7 times as long with the default head, and 16 take 5 to 6 times as long with SPIN's.
    """

    def forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `Arithmetic`."""
        persons, _, hidden = constant.shape
        estimates = constant.new_empty(persons, iterations + 1, len(start))
        estimates[:, 0] = start
        hidden1 = constant.new_empty(persons, iterations, hidden)
        hidden2 = torch.empty_like(hidden1)
        for i in range(persons):
            own = (constant[:, 0], estimates, hidden1, hidden2)
            go_forward(_matrices(matrices, i), *(_person(part, i) for part in own))
        return Activations(estimates, (hidden1, hidden2))

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """See `Arithmetic`."""
        estimates = torch.empty_like(activations.estimates[:, 1:])
        estimates[:, -1] = gradient
        hidden = tuple(torch.empty_like(layer) for layer in activations.hidden)
        for i in range(len(gradient)):
            own = (activations.estimates, *activations.hidden, estimates, *hidden)
            go_back(_matrices(matrices, i), *(_person(part, i) for part in own))
        return ActivationGradients(estimates, hidden)

    def start_adam(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """A copy, and moments of zero."""
        copy, first, second = (_memory_like(matrix) for _ in range(3))
        return copy.copy_(matrix), Moments(first.zero_(), second.zero_())

    def adam(
        self,
        matrix: Tensor,
        moments: Moments,
        gradient: OuterProducts,
        coefficients: AdamCoefficients,
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` and `moments`."""
        beta1, beta2, rate, epsilon = coefficients
        numbers = step_numbers(
            beta1, beta2, float(rate), float(epsilon), dtype=matrix.numpy().dtype
        )
        buffer = gradient_buffer(matrix[0].numpy())
        for i in range(len(matrix)):
            own = (_person(part, i) for part in (matrix, matrix, *moments, *gradient))
            take_step(*own, buffer, numbers, False, False, False, 0, matrix.shape[1])
        return matrix, moments

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Keeps their memory for the next person."""
        for tensor in tensors:
            _SPARE[tensor.shape, tensor.dtype].append(tensor)


def _matrices(matrices: Matrices, index: int) -> Any:
    """One person's, in the order of the compiled loops."""
    names = (FC1_ESTIMATE, FC2, DECODE, FC2_BIAS, DECODE_BIAS)
    return tuple(_person(matrices[name], index) for name in names)


def _person(tensor: Tensor, index: int) -> Any:
    """One person's part of a tensor, as a NumPy array on the same memory."""
    return tensor.numpy()[index]


def _memory_like(tensor: Tensor) -> Tensor:
    try:
        return _SPARE[tensor.shape, tensor.dtype].pop()
    except IndexError:
        return tensor.new_empty(tensor.shape)
