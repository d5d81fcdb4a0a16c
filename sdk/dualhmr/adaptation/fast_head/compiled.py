"""`Arithmetic` on a CPU, by loops that numba compiles at the first call.

The loops are bound by memory, so each passes over a matrix once. Their arrays are of one type,
float32 or float64, contiguous, and must not overlap.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from dualhmr.compiling import compiled_loop

# Numbers between the rows of a buffer, so that rows are not a power of two apart: those would
# compete for the same lines of the cache.
_PADDING = 80


@compiled_loop
def _multiply(matrix: Any, x: Any, offset: Any, out: Any) -> None:
    """out = offset + matrix x."""
    for row in range(matrix.shape[0]):
        total = offset[row]
        weights = matrix[row]
        for column in range(weights.size):
            total += weights[column] * x[column]
        out[row] = total


@compiled_loop
def _multiply_transposed(matrix: Any, x: Any, out: Any) -> None:
    """out += matrix^T x, four rows at a time, as `out` is read and written for each of them."""
    rows = matrix.shape[0]
    for row in range(0, rows - 3, 4):
        w0, w1, w2, w3 = matrix[row], matrix[row + 1], matrix[row + 2], matrix[row + 3]
        x0, x1, x2, x3 = x[row], x[row + 1], x[row + 2], x[row + 3]
        for column in range(out.size):
            out[column] += x0 * w0[column] + x1 * w1[column] + x2 * w2[column] + x3 * w3[column]
    for row in range(rows - rows % 4, rows):
        w0, x0 = matrix[row], x[row]
        for column in range(out.size):
            out[column] += x0 * w0[column]


@compiled_loop
def _forward(matrices: Any, biases: Any, estimates: Any, hidden1: Any, hidden2: Any) -> None:
    """Fill `estimates` (n + 1, E) after its first row, `hidden1` (n, H) and `hidden2` (n, H).

    `matrices` are fc1 (E, H), fc2 and decode; `biases`, one for each, are (1, .).
    """
    fc1, fc2, decode = matrices
    fc1_bias, fc2_bias, decode_bias = biases
    for i in range(hidden1.shape[0]):
        hidden1[i] = fc1_bias[0]
        _multiply_transposed(fc1, estimates[i], hidden1[i])
        _multiply(fc2, hidden1[i], fc2_bias[0], hidden2[i])
        _multiply(decode, hidden2[i], estimates[i] + decode_bias[0], estimates[i + 1])


@compiled_loop
def _backward(matrices: Any, estimates: Any, hidden1: Any, hidden2: Any) -> None:
    """Fill `estimates` (n, E) but its last row, and `hidden1`, `hidden2` (n, H), zero before."""
    fc1, fc2, decode = matrices
    for i in range(hidden1.shape[0] - 1, -1, -1):
        _multiply_transposed(decode, estimates[i], hidden2[i])
        _multiply_transposed(fc2, hidden2[i], hidden1[i])
        if i > 0:
            _multiply(fc1, hidden1[i], estimates[i], estimates[i - 1])


@compiled_loop
def _adam_row(weight: Any, mean: Any, square: Any, gradient: Any, numbers: Any) -> None:
    keep1, new1, keep2, new2, rate, epsilon, tiny = numbers
    for j in range(weight.size):
        g = gradient[j]
        m = keep1 * mean[j] + new1 * g
        v = keep2 * square[j] + new2 * g * g
        mean[j], square[j] = m, v
        weight[j] -= rate * m / (math.sqrt(max(v, tiny)) + epsilon)


@compiled_loop
def _adam(
    matrix: Any,
    mean: Any,
    square: Any,
    left: Any,
    right: Any,
    beta1: float,
    beta2: float,
    rate: float,
    epsilon: float,
) -> None:
    """Adam in place on a matrix (R, C) whose gradient is left^T right, (n, R) and (n, C).

    The gradient is built in a small buffer, for four rows at a time, from two outer products at a
    time: that is the most that stays in registers.
    """
    rows, columns = matrix.shape
    terms = left.shape[0]
    real = matrix.dtype.type
    keep = (real(beta1), real(1 - beta1), real(beta2), real(1 - beta2))
    numbers = (*keep, real(rate), real(epsilon), real(np.finfo(matrix.dtype).tiny))
    pitch = columns + _PADDING
    flat = np.empty(4 * pitch, matrix.dtype)
    g0, g1 = flat[:columns], flat[pitch : pitch + columns]
    g2, g3 = flat[2 * pitch : 2 * pitch + columns], flat[3 * pitch : 3 * pitch + columns]
    for row in range(0, rows, 4):
        count = min(4, rows - row)
        r1, r2, r3 = row + min(1, count - 1), row + min(2, count - 1), row + count - 1
        flat[:] = 0
        for i in range(0, terms, 2):
            k = min(i + 1, terms - 1)
            # The last of an odd number of terms has no partner.
            both = real(k - i)
            a0, a1, a2, a3 = left[i, row], left[i, r1], left[i, r2], left[i, r3]
            b0, b1, b2, b3 = left[k, row], left[k, r1], left[k, r2], left[k, r3]
            b0, b1, b2, b3 = both * b0, both * b1, both * b2, both * b3
            right_i, right_k = right[i], right[k]
            for j in range(columns):
                a, b = right_i[j], right_k[j]
                g0[j] += a0 * a + b0 * b
                g1[j] += a1 * a + b1 * b
                g2[j] += a2 * a + b2 * b
                g3[j] += a3 * a + b3 * b
        for c in range(count):
            gradient = flat[c * pitch : c * pitch + columns]
            _adam_row(matrix[row + c], mean[row + c], square[row + c], gradient, numbers)


# Buffers that no person uses now. Pages that the system maps anew for every person cost as much as
# a few steps.
_SPARE: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = defaultdict(list)


class CompiledArithmetic:
    """For float32 and float64 on a CPU: in place, one person after the other.

    A person's matrices and moments stay in the cache from step to step unless another person's
    come in between, so it is fastest to adapt one person at a time.
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
        biases = (constant, matrices[FC2_BIAS], matrices[DECODE_BIAS])
        for i in range(persons):
            _forward(
                tuple(_person(matrices[name], i) for name in (FC1_ESTIMATE, FC2, DECODE)),
                tuple(_person(bias, i) for bias in biases),
                *(_person(part, i) for part in (estimates, hidden1, hidden2)),
            )
        return Activations(estimates, (hidden1, hidden2))

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """See `Arithmetic`."""
        estimates = torch.empty_like(activations.estimates[:, 1:])
        estimates[:, -1] = gradient
        hidden = tuple(torch.zeros_like(layer) for layer in activations.hidden)
        for i in range(len(gradient)):
            _backward(
                tuple(_person(matrices[name], i) for name in (FC1_ESTIMATE, FC2, DECODE)),
                *(_person(part, i) for part in (estimates, *hidden)),
            )
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
        for i in range(len(matrix)):
            arrays = (_person(part, i) for part in (matrix, *moments, *gradient))
            _adam(*arrays, beta1, beta2, float(rate), float(epsilon))
        return matrix, moments

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Keeps their memory for the next person."""
        for tensor in tensors:
            _SPARE[tensor.shape, tensor.dtype].append(tensor)


def _person(tensor: Tensor, index: int) -> Any:
    """One person's part of a tensor, as a NumPy array on the same memory."""
    return tensor.numpy()[index]


def _memory_like(tensor: Tensor) -> Tensor:
    try:
        return _SPARE[tensor.shape, tensor.dtype].pop()
    except IndexError:
        return tensor.new_empty(tensor.shape)
