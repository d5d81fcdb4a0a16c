"""Gradients that are sums of a few outer products, and what can be known of them unbuilt.

A matrix that acts n times, y_i = W x_i, has the gradient sum_i l_i x_i^T, where l_i is the loss's
gradient with respect to y_i: 2 n vectors say all of it.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    GIVEN,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.optimisers import Adam


class Outer(NamedTuple):
    """sum_i left_i right_i^T, a matrix (R, C) for each of N persons."""

    left: Tensor
    """(N, n, R)."""
    right: Tensor
    """(N, n, C)."""

    def dense(self) -> Tensor:
        """The matrix itself, (N, R, C)."""
        return self.left.mT @ self.right

    def squared_norm(self) -> Tensor:
        """Squared Frobenius norm, (N,): sum_ij (left_i . left_j) (right_i . right_j)."""
        grams = (self.left @ self.left.mT) * (self.right @ self.right.mT)
        return grams.sum((-2, -1))

    def total(self) -> Tensor:
        """The sum of the matrix's entries, (N,); not finite where one of left or right is not."""
        return (self.left.sum(-1) * self.right.sum(-1)).sum(-1)

    def of_person(self, index: int) -> "Outer":
        """One person's, with an axis of 1."""
        return Outer(self.left[index : index + 1], self.right[index : index + 1])


Gradients = dict[str, Outer]
"""By the names of a head's matrices."""


def squared_norm(gradients: Gradients) -> Tensor:
    """That of all of them together, (N,)."""
    return torch.stack([gradient.squared_norm() for gradient in gradients.values()]).sum(0)


def all_finite(gradients: Gradients) -> Tensor:
    """Whether they are, for each person: (N,) bool."""
    totals = [gradient.total() for gradient in gradients.values()]
    return torch.isfinite(torch.stack(totals)).all(0)


# The head's rounds, forwards and backwards, in PyTorch; N persons have matrices of their own.
#
# Row vectors: x (N, 1, C) through a matrix W (N, R, C) is x W^T (N, 1, R).


class Activations(NamedTuple):
    """What n rounds went through."""

    estimates: Tensor
    """(N, n + 1, E): e_0, the start, to e_n, what the head puts out."""
    first: Tensor
    """(N, n, H): h1 of every round."""
    second: Tensor
    """(N, n, H): h2 of every round."""


class ActivationGradients(NamedTuple):
    """Gradients of the loss with respect to what n rounds went through."""

    estimates: Tensor
    """(N, n, E): with respect to e_1 to e_n."""
    first: Tensor
    """(N, n, H)."""
    second: Tensor
    """(N, n, H)."""


def go_forward(matrices: Matrices, constant: Tensor, start: Tensor, iterations: int) -> Activations:
    """From `start` (E,), where `constant` (N, 1, H) is W1g c + b1."""
    estimate = start.expand(len(constant), 1, -1)
    estimates, firsts, seconds = [estimate], [], []
    for _ in range(iterations):
        first = torch.baddbmm(constant, estimate, matrices[FIRST])
        second = torch.baddbmm(matrices[SECOND_BIAS], first, matrices[SECOND].mT)
        correction = torch.baddbmm(matrices[DECODE_BIAS], second, matrices[DECODE].mT)
        estimate = estimate + correction
        estimates.append(estimate)
        firsts.append(first)
        seconds.append(second)
    return Activations(*(torch.cat(rows, dim=1) for rows in (estimates, firsts, seconds)))


def go_backward(matrices: Matrices, gradient: Tensor, iterations: int) -> ActivationGradients:
    """From the loss's gradient (N, E) with respect to the last estimate.

    With g_i the gradient with respect to e_i, a round hands on
        g_h2 = D^T g_{i+1},    g_h1 = W2^T g_h2,    g_i = g_{i+1} + W1e^T g_h1,
    and none of them depends on what the estimates were: the head is affine.
    """
    slope = gradient.unsqueeze(1)
    estimates, firsts, seconds = [], [], []
    for _ in range(iterations):
        second = slope @ matrices[DECODE]
        first = second @ matrices[SECOND]
        estimates.append(slope)
        firsts.append(first)
        seconds.append(second)
        slope = torch.baddbmm(slope, first, matrices[FIRST].mT)
    return ActivationGradients(
        *(torch.cat(rows[::-1], dim=1) for rows in (estimates, firsts, seconds))
    )


def gradients_of(rounds: Activations, slopes: ActivationGradients, given: Tensor) -> Gradients:
    """Those of the head's matrices, where `given` (N, 1, G + 1) is c and a 1.

    What is given is the same in all rounds, so that its matrix has the gradient
    (sum_i g_h1_i) c^T: one outer product.
    """
    ones = torch.ones_like(slopes.first[..., :1])
    return {
        GIVEN: Outer(slopes.first.sum(1, keepdim=True), given),
        FIRST: Outer(rounds.estimates[:, :-1], slopes.first),
        SECOND: Outer(slopes.second, rounds.first),
        SECOND_BIAS: Outer(ones, slopes.second),
        DECODE: Outer(slopes.estimates, rounds.second),
        DECODE_BIAS: Outer(ones, slopes.estimates),
    }


class AdamCoefficients(NamedTuple):
    """The numbers of one update of Adam; tensors () serve where a captured graph is to be reused.

    m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2,
    w <- w - rate m / (sqrt v + floor)
    """

    beta1: float
    beta2: float
    rate: float | Tensor
    floor: float | Tensor

    @staticmethod
    def of(adam: Adam, updates: int) -> "AdamCoefficients":
        """That of the update after `updates` of them, corrected for moments that start at zero."""
        root = math.sqrt(1 - adam.beta2 ** (updates + 1))
        rate = adam.learning_rate * root / (1 - adam.beta1 ** (updates + 1))
        return AdamCoefficients(adam.beta1, adam.beta2, rate, adam.epsilon * root)


class Moments(NamedTuple):
    """Adam's moving means of the gradient and of its square."""

    first: Tensor
    second: Tensor

    def after(self, gradient: Tensor, pace: AdamCoefficients) -> "Moments":
        """With one more gradient."""
        first = torch.lerp(self.first, gradient, 1 - pace.beta1)
        second = torch.addcmul(pace.beta2 * self.second, gradient, gradient, value=1 - pace.beta2)
        return Moments(first, second)

    def root(self) -> Tensor:
        """The root of the second, never quite zero."""
        return self.second.clamp_min(torch.finfo(self.second.dtype).tiny).sqrt()


class Arithmetic(Protocol):
    """The rounds of a head, and Adam on its matrices (N, R, C), for N persons."""

    def begin(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """What `adam` may overwrite: `matrix` or a copy, and moments of zero."""
        ...

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Takes back what `adam` made and nobody needs any more."""
        ...

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `go_forward`."""
        ...

    def go_backward(
        self, matrices: Matrices, gradient: Tensor, iterations: int
    ) -> ActivationGradients:
        """See `go_backward`."""
        ...

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update; what was given may be overwritten."""
        ...


class TorchArithmetic:
    """Out of place and without waiting for a device: fit for capture, export and many persons."""

    def begin(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """The matrix itself, and moments of zero."""
        zeros = torch.zeros_like(matrix)
        return matrix, Moments(zeros, zeros)

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Nothing to do."""

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `go_forward`."""
        return go_forward(matrices, constant, start, iterations)

    def go_backward(
        self, matrices: Matrices, gradient: Tensor, iterations: int
    ) -> ActivationGradients:
        """See `go_backward`."""
        return go_backward(matrices, gradient, iterations)

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update."""
        moments = moments.after(gradient.dense(), pace)
        root = moments.root() + pace.floor
        return torch.addcdiv(matrix, -pace.rate * moments.first, root), moments
