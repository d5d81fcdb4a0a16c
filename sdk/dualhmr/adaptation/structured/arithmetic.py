"""Who does the sums on large matrices: PyTorch anywhere, or compiled loops on a CPU."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.structured import rounds
from dualhmr.adaptation.structured.affine_head import Matrices
from dualhmr.adaptation.structured.outer import Outer
from dualhmr.adaptation.structured.rounds import Rounds, Slopes
from dualhmr.schedules.optimisers import Adam


class Pace(NamedTuple):
    """The numbers of one update of Adam; tensors () serve where a captured graph is to be reused.

    m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2,
    w <- w - rate m / (sqrt v + floor)
    """

    beta1: float
    beta2: float
    rate: float | Tensor
    floor: float | Tensor

    @staticmethod
    def of(adam: Adam, updates: int) -> "Pace":
        """That of the update after `updates` of them, corrected for moments that start at zero."""
        root = math.sqrt(1 - adam.beta2 ** (updates + 1))
        rate = adam.learning_rate * root / (1 - adam.beta1 ** (updates + 1))
        return Pace(adam.beta1, adam.beta2, rate, adam.epsilon * root)


class Moments(NamedTuple):
    """Adam's moving means of the gradient and of its square."""

    first: Tensor
    second: Tensor

    def after(self, gradient: Tensor, pace: Pace) -> "Moments":
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
    ) -> Rounds:
        """See `rounds.go_forward`."""
        ...

    def go_backward(self, matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
        """See `rounds.go_backward`."""
        ...

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: Pace
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
    ) -> Rounds:
        """See `rounds.go_forward`."""
        return rounds.go_forward(matrices, constant, start, iterations)

    def go_backward(self, matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
        """See `rounds.go_backward`."""
        return rounds.go_backward(matrices, gradient, iterations)

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: Pace
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update."""
        moments = moments.after(gradient.dense(), pace)
        root = moments.root() + pace.floor
        return torch.addcdiv(matrix, -pace.rate * moments.first, root), moments
