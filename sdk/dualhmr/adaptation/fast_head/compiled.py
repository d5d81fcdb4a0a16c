"""Loops over matrices that pass over memory once, compiled at the first call.

All arrays are of one type, float32 or float64, row by row in memory, and must not overlap.
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
    FIRST,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.fast_head.arithmetic import (
    ActivationGradients,
    Activations,
    AdamCoefficients,
    Moments,
    Outer,
)
from dualhmr.compiling import compiled_loop

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
def _go_forward(matrices: Any, biases: Any, estimates: Any, firsts: Any, seconds: Any) -> None:
    """Fill `estimates` (n + 1, E) after its first row, `firsts` (n, H) and `seconds` (n, H).

    `matrices` are first (E, H), second and decode; `biases`, one for each, are (1, .).
    """
    first, second, decode = matrices
    first_bias, second_bias, decode_bias = biases
    for i in range(firsts.shape[0]):
        firsts[i] = first_bias[0]
        _multiply_transposed(first, estimates[i], firsts[i])
        _multiply(second, firsts[i], second_bias[0], seconds[i])
        _multiply(decode, seconds[i], estimates[i] + decode_bias[0], estimates[i + 1])


@compiled_loop
def _go_backward(matrices: Any, estimates: Any, firsts: Any, seconds: Any) -> None:
    """Fill `firsts`, `seconds` (n, H), both zero before, and `estimates` (n, E) but its last."""
    first, second, decode = matrices
    for i in range(firsts.shape[0] - 1, -1, -1):
        _multiply_transposed(decode, estimates[i], seconds[i])
        _multiply_transposed(second, seconds[i], firsts[i])
        if i > 0:
            _multiply(first, firsts[i], estimates[i], estimates[i - 1])


@compiled_loop
def _adam_row(weight: Any, mean: Any, square: Any, gradient: Any, numbers: Any) -> None:
    keep1, new1, keep2, new2, rate, floor, tiny = numbers
    for j in range(weight.size):
        g = gradient[j]
        m = keep1 * mean[j] + new1 * g
        v = keep2 * square[j] + new2 * g * g
        mean[j], square[j] = m, v
        weight[j] -= rate * m / (math.sqrt(max(v, tiny)) + floor)


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
    floor: float,
) -> None:
    """Adam in place on a matrix (R, C) whose gradient is left^T right, (n, R) and (n, C).

    The gradient is made for four rows at a time, from two outer products at a time.
    """
    rows, columns = matrix.shape
    terms = left.shape[0]
    real = matrix.dtype.type
    keep = (real(beta1), real(1 - beta1), real(beta2), real(1 - beta2))
    numbers = (*keep, real(rate), real(floor), real(np.finfo(matrix.dtype).tiny))
    # Four rows, but not a power of two apart, as they would get into each other's way in the cache.
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


# The sums on large matrices by compiled loops on a CPU: in place, one person after the other.
#
# A person's matrices and moments stay in the cache from step to step as long as nobody else's come
# in between, so that it is best to adapt one person at a time.


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
    ) -> Activations:
        """See `arithmetic.go_forward`."""
        persons, _, hidden = constant.shape
        estimates = constant.new_empty(persons, iterations + 1, len(start))
        estimates[:, 0] = start
        firsts = constant.new_empty(persons, iterations, hidden)
        rounds = Activations(estimates, firsts, torch.empty_like(firsts))
        for i in range(persons):
            _go_forward(
                tuple(_of(matrices[name], i) for name in (FIRST, SECOND, DECODE)),
                (
                    _of(constant, i),
                    *(_of(matrices[name], i) for name in (SECOND_BIAS, DECODE_BIAS)),
                ),
                *(_of(part, i) for part in rounds),
            )
        return rounds

    def go_backward(
        self, matrices: Matrices, gradient: Tensor, iterations: int
    ) -> ActivationGradients:
        """See `arithmetic.go_backward`."""
        persons, hidden = len(gradient), matrices[SECOND].shape[-1]
        estimates = gradient.new_empty(persons, iterations, gradient.shape[-1])
        estimates[:, -1] = gradient
        firsts = gradient.new_zeros(persons, iterations, hidden)
        slopes = ActivationGradients(estimates, firsts, torch.zeros_like(firsts))
        for i in range(persons):
            _go_backward(
                tuple(_of(matrices[name], i) for name in (FIRST, SECOND, DECODE)),
                *(_of(part, i) for part in slopes),
            )
        return slopes

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` and `moments`."""
        for i in range(len(matrix)):
            arrays = (_of(part, i) for part in (matrix, *moments, *gradient))
            _adam(*arrays, pace.beta1, pace.beta2, float(pace.rate), float(pace.floor))
        return matrix, moments


def _of(tensor: Tensor, person: int) -> Any:
    """A person's part of it, as a NumPy array on the same memory."""
    return tensor.numpy()[person]


def _memory_like(tensor: Tensor) -> Tensor:
    try:
        return _SPARE[tensor.shape, tensor.dtype].pop()
    except IndexError:
        return tensor.new_empty(tensor.shape)
