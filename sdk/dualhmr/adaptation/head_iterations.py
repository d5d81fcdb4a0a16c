"""The iterations of a compiled head and back: one after the other, or all at once.

An iteration is e + D (W2 (W1 e + k) + b2) + bd, with the input in k: affine in the estimate e.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.compiled_loops import go_back, go_forward
from dualhmr.compiling import WorkerThreads, compiled_loop

Array = npt.NDArray[Any]
Matrices = tuple[Array, ...]
"""fc1 on the estimate (E, H), fc2 (H, H), decode (E, H), the bias of fc2 (1, H), of decode (1, E);
none for a head without hidden layers."""

_PADDING = 80
"""Numbers between rows, so that they do not compete for the same lines of the cache."""
_ROWS = 256
"""Of fc2, that are one piece of work for a thread."""
_SETTLED = 300
"""Estimates are settled if a correction is smaller than this many units of rounding."""


class HeadIterations:
    """What n iterations compute, kept for the gradients of the matrices; one after the other.

    Fewer are faster so, and those of a small head, whose matrices stay in a core's cache.
    """

    def __init__(self, start: Array, iterations: int, hidden: int) -> None:
        """Memory for the iterations from `start` (E,) of a head with H `hidden` units."""
        self._count, size = iterations, len(start)
        rows, columns = self._shape(hidden)
        self.estimates = np.tile(start, (rows + 1, 1))
        """(n + 1, E) or more rows; those from n + 1 count nothing."""
        self.grad_estimates = np.zeros((rows, size), start.dtype)
        layers = np.zeros((4, rows, columns), start.dtype)
        self.hidden1, self.hidden2, self.grad_hidden1, self.grad_hidden2 = layers
        """(n, H) or more; gradients are 0 in other rows."""

    def _shape(self, hidden: int) -> tuple[int, int]:
        return self._count, hidden

    @property
    def all(self) -> tuple[Array, ...]:
        """Estimates, hidden layers, and the gradients of all three."""
        forth = (self.estimates, self.hidden1, self.hidden2)
        return (*forth, self.grad_estimates, self.grad_hidden1, self.grad_hidden2)

    def forward(self, matrices: Matrices, constant: Array) -> Array:
        """The last estimate (E,), a copy; `constant` (H,) is k."""
        go_forward(matrices, constant, *self.all[:3])
        return self.estimates[self._count].copy()

    def backward(self, matrices: Matrices, gradient: Array) -> bool:
        """From the gradient of the last estimate; whether those of the matrices are finite."""
        self.grad_estimates[self._count - 1] = gradient
        return bool(go_back(matrices, *self.all))


class IterationsAtOnce(HeadIterations):
    """The same, with the products of all iterations together, so matrices are read less often.

    Iterations wait for each other, so one by one they read all matrices once each. Here the
    products are computed for a guess of all estimates, and then the estimates are corrected as if
    the slope D W2 W1 were that of the head before adaptation, which it nearly is. (The parareal
    method of Lions, Maday and Turinici, 2001, with iterations for time.) That is repeated until
    nothing changes: two or three times. Whatever the guess and the slope, all estimates are right
    after as many times as there are iterations. The gradient goes back in the same way.
    """

    def __init__(
        self,
        start: Array,
        iterations: int,
        hidden: int,
        slope: tuple[Array, Array],
        workers: WorkerThreads,
    ) -> None:
        """`slope` (E, E) is about D W2 W1 with its transpose; `workers` share products with fc2."""
        super().__init__(start, iterations, hidden)
        self._slope, self._slope_transposed = slope
        self._workers = workers
        rows, columns = self._shape(hidden)
        self._changes, self._correction = np.zeros_like(self.grad_estimates), np.zeros_like(start)
        self._zeros = np.zeros(max(columns, len(start)), start.dtype)
        self._pieces = row_pieces(hidden)
        self._partial = np.zeros((len(self._pieces) - 1, rows, columns), start.dtype)
        self._settled = (_SETTLED * float(np.finfo(start.dtype).eps)) ** 2

    def _shape(self, hidden: int) -> tuple[int, int]:
        # The loops take two rows at a time.
        return self._count + self._count % 2, hidden + _PADDING

    def forward(self, matrices: Matrices, constant: Array) -> Array:
        """See `HeadIterations`; the first guess is what was right before the last step."""
        fc1, fc2, decode, fc2_bias, decode_bias = matrices
        hidden1, hidden2 = self.hidden1, self.hidden2
        for _ in range(self._count + 1):
            multiply_transposed(fc1, self.estimates, constant, hidden1, 0, len(fc1))
            self._share(lambda _, *rows: multiply(fc2, hidden1, fc2_bias[0], hidden2, *rows))
            multiply(decode, hidden2, decode_bias[0], self._changes, 0, len(decode))
            self._correction[:] = 0
            if self._correct(self._slope_transposed, self.estimates, 0, 1, self._count):
                break
        return self.estimates[self._count].copy()

    def backward(self, matrices: Matrices, gradient: Array) -> bool:
        """See `HeadIterations`."""
        last, way = self._count - 1, (self._slope, self.grad_estimates)
        # Without changes, and with all of the gradient to be corrected, this is the first guess.
        self._changes[:] = self.grad_estimates[:last] = 0
        self.grad_estimates[last] = self._correction[:] = gradient
        self._correct(*way, last, -1, last)
        for _ in range(self._count):
            self._go_back(matrices)
            self._correction[:] = 0
            if self._correct(*way, last, -1, last):
                break
        return self._finite()

    def _finite(self) -> bool:
        """Whether the gradients of all matrices are; in sums, NaN and infinity survive."""
        with np.errstate(all="ignore"):
            forth, back = (
                [each.sum(1, dtype=float) for each in self.all[i : i + 3]] for i in (0, 3)
            )
            pairs = zip((forth[0][:-1], *forth[1:]), (*back[1:], back[0]), strict=True)
            return math.isfinite(sum(float(((1 + a) * g).sum()) for a, g in pairs))

    def _go_back(self, matrices: Matrices) -> None:
        """From the gradients of all estimates to those of the hidden layers, and the changes."""
        fc1, fc2, decode, _, _ = matrices
        zeros, hidden2, partial = self._zeros, self.grad_hidden2, self._partial
        multiply_transposed(decode, self.grad_estimates, zeros, hidden2, 0, len(decode))

        def from_rows(piece: int, start: int, stop: int) -> None:
            multiply_transposed(fc2, hidden2, zeros, partial[piece], start, stop)

        self._share(from_rows)
        partial.sum(0, out=self.grad_hidden1)
        multiply(fc1, self.grad_hidden1, zeros, self._changes, 0, len(fc1))

    def _share(self, work: Callable[[int, int, int], object]) -> None:
        """Does `work` for each piece of fc2: its number, its first row and where it ends."""
        ends = self._pieces
        self._workers.run(lambda i: work(i, ends[i], ends[i + 1]), len(ends) - 1)

    def _correct(self, slope: Array, path: Array, first: int, way: int, count: int) -> bool:
        """Whether that hardly changed anything, or is not finite, which will not get better."""
        moved = correct(slope, path, self._changes, self._correction, first, way, count)
        return not moved > self._settled


def row_pieces(hidden: int) -> list[int]:
    """Where pieces of fc2 (H, H) for threads to share begin, and where the last one ends."""
    return [*range(0, hidden, _ROWS), hidden]


@compiled_loop
def multiply(matrix: Any, x: Any, bias: Any, out: Any, start: int, stop: int) -> None:
    """Columns `start` to `stop` of out (n, R or more) are those of x matrix^T + bias.

    matrix (R, C), x (n, C or more), bias (R or more,); n is even. Four rows and two of x at a time:
    what stays in registers.
    """
    zero = matrix.dtype.type(0)
    for row in range(start, stop, 4):
        # Where fewer than four are left, the last is computed again.
        r1, r2, r3 = min(row + 1, stop - 1), min(row + 2, stop - 1), min(row + 3, stop - 1)
        w0, w1, w2, w3 = matrix[row], matrix[r1], matrix[r2], matrix[r3]
        for i in range(0, x.shape[0], 2):
            a, b = x[i], x[i + 1]
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
            for j in range(w0.size):
                p, q = a[j], b[j]
                a0 += w0[j] * p
                a1 += w1[j] * p
                a2 += w2[j] * p
                a3 += w3[j] * p
                b0 += w0[j] * q
                b1 += w1[j] * q
                b2 += w2[j] * q
                b3 += w3[j] * q
            out[i, row], out[i + 1, row] = a0 + bias[row], b0 + bias[row]
            out[i, r1], out[i + 1, r1] = a1 + bias[r1], b1 + bias[r1]
            out[i, r2], out[i + 1, r2] = a2 + bias[r2], b2 + bias[r2]
            out[i, r3], out[i + 1, r3] = a3 + bias[r3], b3 + bias[r3]


@compiled_loop
def multiply_transposed(matrix: Any, x: Any, bias: Any, out: Any, start: int, stop: int) -> None:
    """out (n, C or more) is the sum of x[:, r] matrix[r] over rows `start` to `stop`, plus bias.

    matrix (R, C), x (n, R or more), bias (C or more,); n is even.
    """
    one, zero = matrix.dtype.type(1), matrix.dtype.type(0)
    columns = matrix.shape[1]
    for i in range(out.shape[0]):
        for j in range(columns):
            out[i, j] = bias[j]
    for row in range(start, stop, 4):
        r1, r2, r3 = min(row + 1, stop - 1), min(row + 2, stop - 1), min(row + 3, stop - 1)
        # Where fewer than four are left, the rest count nothing.
        m1, m2 = one if r1 > row else zero, one if r2 > row + 1 else zero
        m3 = one if r3 > row + 2 else zero
        w0, w1, w2, w3 = matrix[row], matrix[r1], matrix[r2], matrix[r3]
        for i in range(0, out.shape[0], 2):
            x_i, x_k, o, u = x[i], x[i + 1], out[i], out[i + 1]
            a0, a1, a2, a3 = x_i[row], m1 * x_i[r1], m2 * x_i[r2], m3 * x_i[r3]
            b0, b1, b2, b3 = x_k[row], m1 * x_k[r1], m2 * x_k[r2], m3 * x_k[r3]
            for j in range(columns):
                p, q, s, t = w0[j], w1[j], w2[j], w3[j]
                o[j] += a0 * p + a1 * q + a2 * s + a3 * t
                u[j] += b0 * p + b1 * q + b2 * s + b3 * t


@compiled_loop
def correct(
    slope: Any, path: Any, changes: Any, correction: Any, first: int, way: int, count: int
) -> Any:
    """One correction of a path, whose rows should be path[i + way] = path[i] + changes[i].

    `changes` (n, E) are of the path (n, E) before; they change by about slope^T (E, E) times the
    change of the path, by which they are corrected. `correction` (E,) is that of the first row. The
    `count` rows after `first` are changed. Returns how far, squared and relative to their size.
    """
    ahead = np.empty_like(correction)
    moved = size = correction.dtype.type(0)
    for step in range(count):
        row = first + way * step
        here, following = path[row], path[row + way]
        for j in range(ahead.size):
            ahead[j] = here[j] + changes[row, j]
        for k in range(ahead.size):
            factor, weights = correction[k], slope[k]
            for j in range(ahead.size):
                ahead[j] += factor * weights[j]
        for j in range(ahead.size):
            difference = ahead[j] - following[j]
            moved += difference * difference
            size += ahead[j] * ahead[j]
            correction[j], following[j] = difference, ahead[j]
    return moved / size if size > 0 else moved
