"""The loops of a head's step, compiled: its iterations there and back, and updates of its matrices.

A matrix is read once for each product and for its update. Arrays are of one type, float32 or
float64, contiguous, and must not overlap.

`matrices` are always (fc1 on the estimate (E, H), fc2 (H, H), decode (E, H), the bias of fc2
(1, H), that of decode (1, E)), as in `dualhmr.adaptation.fast_head.affine_head`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.compiling import compiled_loop, compiled_part

# Numbers between the rows of a buffer, so that rows are not a power of two apart: those would
# compete for the same lines of the cache.
_PADDING = 80


@compiled_part
def _multiply(matrix: Any, x: Any, out: Any) -> None:
    """out += matrix x."""
    for row in range(matrix.shape[0]):
        total = out[row]
        weights = matrix[row]
        for column in range(weights.size):
            total += weights[column] * x[column]
        out[row] = total


@compiled_part
def _copy(x: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = x[i]


@compiled_part
def _clear(out: Any) -> None:
    for i in range(out.size):
        out[i] = 0


@compiled_part
def _total(x: Any) -> Any:
    total = 0.0  # of products of these, in single precision, more would overflow
    for i in range(x.size):
        total += x[i]
    return total


@compiled_part
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
def go_forward(matrices: Any, constant: Any, estimates: Any, hidden1: Any, hidden2: Any) -> None:
    """Fill `estimates` (n + 1, E) after its first row, `hidden1` (n, H) and `hidden2` (n, H).

    `constant` (H,) is W1g c + b1.
    """
    fc1, fc2, decode, fc2_bias, decode_bias = matrices
    for i in range(hidden1.shape[0]):
        _copy(constant, hidden1[i])
        _multiply_transposed(fc1, estimates[i], hidden1[i])
        _copy(fc2_bias[0], hidden2[i])
        _multiply(fc2, hidden1[i], hidden2[i])
        for row in range(decode.shape[0]):
            estimates[i + 1, row] = estimates[i, row] + decode_bias[0, row]
        _multiply(decode, hidden2[i], estimates[i + 1])


@compiled_part
def _gradients_finite(
    estimates: Any,
    hidden1: Any,
    hidden2: Any,
    grad_estimates: Any,
    grad_hidden1: Any,
    grad_hidden2: Any,
) -> bool:
    """Whether those of all matrices are: outer products, row by row, of these arrays.

    A sum is one pass over memory, and NaN and infinity survive it.
    """
    total = 0.0
    for i in range(hidden1.shape[0]):
        g1, g2, g3 = _total(grad_hidden1[i]), _total(grad_hidden2[i]), _total(grad_estimates[i])
        total += g1 + g2 + g3
        total += g1 * _total(estimates[i]) + g2 * _total(hidden1[i]) + g3 * _total(hidden2[i])
    return bool(math.isfinite(total))


@compiled_loop
def go_back(
    matrices: Any,
    estimates: Any,
    hidden1: Any,
    hidden2: Any,
    grad_estimates: Any,
    grad_hidden1: Any,
    grad_hidden2: Any,
) -> bool:
    """Fill `grad_estimates` (n, E) but its last row, and the gradients of both hidden layers.

    Returns whether all gradients of the matrices are finite.
    """
    fc1, fc2, decode, _, _ = matrices
    for i in range(hidden1.shape[0] - 1, -1, -1):
        _clear(grad_hidden2[i])
        _multiply_transposed(decode, grad_estimates[i], grad_hidden2[i])
        _clear(grad_hidden1[i])
        _multiply_transposed(fc2, grad_hidden2[i], grad_hidden1[i])
        if i > 0:
            _copy(grad_estimates[i], grad_estimates[i - 1])
            _multiply(fc1, grad_hidden1[i], grad_estimates[i - 1])
    return _gradients_finite(
        estimates, hidden1, hidden2, grad_estimates, grad_hidden1, grad_hidden2
    )


@compiled_part
def _adam_row(weight: Any, mean: Any, square: Any, gradient: Any, numbers: Any) -> None:
    # Of more arrays than these LLVM cannot check that they do not overlap, and then the loop is
    # not made of vector instructions.
    keep1, new1, keep2, new2 = numbers[0], numbers[1], numbers[2], numbers[3]
    rate, epsilon, tiny = numbers[4], numbers[5], numbers[6]
    for j in range(weight.size):
        g = gradient[j]
        m = keep1 * mean[j] + new1 * g
        v = keep2 * square[j] + new2 * g * g
        mean[j], square[j] = m, v
        v = tiny if v < tiny else v  # NaN stays
        weight[j] -= rate * m / (math.sqrt(v) + epsilon)


def step_numbers(
    beta1: float, beta2: float, rate: float, epsilon: float, *, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """What `take_step` computes with."""
    tiny = float(np.finfo(dtype).tiny)
    return np.array([beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon, tiny], dtype)


def gradient_buffer(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Memory for `take_step` on a matrix (R, C)."""
    return np.empty((4, matrix.shape[1] + _PADDING), matrix.dtype)


@compiled_loop
def take_step(
    source: Any,
    value: Any,
    mean: Any,
    square: Any,
    left: Any,
    right: Any,
    buffer: Any,
    numbers: Any,
    descends: bool,
    fresh: bool,
    copies: bool,
    start: int,
    stop: int,
) -> None:
    """Update the rows from `start` to `stop` of `value` (R, C).

    Where it `copies`, they are those of `source` before. The gradient is left^T right, of (n, R)
    and (n, C). The update is Adam's with the `step_numbers`, whose moments change in place and are
    zero before where `fresh`; or, where it `descends`, the rate times the gradient.

    The gradient is built in the `gradient_buffer`, for four rows at a time, from two outer products
    at a time: that is the most that stays in registers.
    """
    terms, columns = left.shape[0], value.shape[1]
    g0, g1 = buffer[0, :columns], buffer[1, :columns]
    g2, g3 = buffer[2, :columns], buffer[3, :columns]
    for row in range(start, stop, 4):
        # Where fewer than four are left, the last is computed again.
        last = stop - 1 - row
        count = 1 + (last if last < 3 else 3)
        r1, r2, r3 = row + (last > 0), row + (last if last < 2 else 2), row + count - 1
        for c in range(4):
            _clear(buffer[c])
        for i in range(0, terms, 2):
            k = i + (i + 1 < terms)
            # The last of an odd number of terms has no partner.
            both = value.dtype.type(k - i)
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
            gradient = buffer[c, :columns]
            own = value[row + c]
            if copies:
                _copy(source[row + c], own)
            if descends:
                for j in range(columns):
                    own[j] -= numbers[4] * gradient[j]
                continue
            if fresh:
                _clear(mean[row + c])
                _clear(square[row + c])
            _adam_row(own, mean[row + c], square[row + c], gradient, numbers)


@compiled_loop
def response(points: Any, masses: Any, scale: Any, floors: Any, out: Any) -> None:
    """Add F (see `dualhmr.adaptation.input_quadrature`) at the scales (H,) to `out` (H,).

    `floors` (2,) are epsilon and the least number that is divided by.
    """
    floor, tiny = floors[0], floors[1]
    for q in range(points.size):
        point, mass = points[q], masses[q]
        for h in range(out.size):
            size = point * scale[h] + floor
            out[h] += mass / (tiny if size < tiny else size)


@compiled_loop
def update_matrix(
    matrix: Any, values: Any, first: Any, scale: Any, rate: float, epsilon: float
) -> None:
    """matrix (H, G) changes by -rate first_h values_j / (scale_h |values_j| + epsilon)."""
    real = matrix.dtype.type
    floor, tiny = real(epsilon), real(np.finfo(matrix.dtype).tiny)
    for h in range(matrix.shape[0]):
        row, factor, own = matrix[h], real(rate) * first[h], scale[h]
        for j in range(values.size):
            row[j] -= factor * values[j] / max(own * abs(values[j]) + floor, tiny)
