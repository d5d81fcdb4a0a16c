"""The first half of a head's step, a look at where it is; `movable.move` is the other half."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.step import Losses, sum_losses
from dualhmr.adaptation.structured.affine_head import GIVEN, AffineHead, Matrices
from dualhmr.adaptation.structured.arithmetic import Arithmetic
from dualhmr.adaptation.structured.movable import Given, Matrix, Movables, Output
from dualhmr.adaptation.structured.outer import Gradients, all_finite
from dualhmr.adaptation.structured.rounds import Rounds, gradients_of


class Evaluate(Protocol):
    """Losses of estimates (N, E), by name, each (N,); and a gradient (N, E).

    The gradient is that of the sum of the losses named `losses`; those in `also` are evaluated
    besides. None means all, in either. Called with autograd off.
    """

    def __call__(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[Losses, Tensor]:
        """Losses and gradient."""
        ...


class Problem(NamedTuple):
    """What stays the same from step to step, for N persons."""

    head: AffineHead
    given: Given
    evaluate: Evaluate
    watched_losses: Collection[str] | None
    arithmetic: Arithmetic

    def start(self) -> Movables:
        """The head as it is, for every person; what is given enters by what fc1 makes of it."""
        persons = len(self.given.values)
        return {
            name: Output.of(matrix, self.given)
            if name == GIVEN
            else Matrix(matrix.expand(persons, *matrix.shape), self.arithmetic)
            for name, matrix in self.head.matrices.items()
        }


class Look(NamedTuple):
    """What the head makes of the given."""

    estimate: Tensor
    """(N, E)."""
    watched: Tensor
    """(N,), the loss that is watched, NaN for those whose gradient is not finite."""
    gradients: Gradients
    """Of the sum of the losses that are descended on."""


def look(problem: Problem, movables: Movables, losses: Collection[str] | None) -> Look:
    """Looks at where the head is, in order to descend on the sum of `losses` (None: of all).

    Raises ValueError where `evaluate` returns a gradient of another shape than the estimates.
    """
    rounds = _go_forward(problem, movables)
    estimate = rounds.estimates[:, -1]
    values, gradient = problem.evaluate(estimate, losses=losses, also=problem.watched_losses)
    if gradient.shape != estimate.shape:
        raise ValueError(
            f"evaluate returned a gradient {tuple(gradient.shape)} for estimates "
            f"{tuple(estimate.shape)}; expected the same shape"
        )
    iterations = problem.head.iterations
    slopes = problem.arithmetic.go_backward(_matrices(movables), gradient, iterations)
    gradients = gradients_of(rounds, slopes, problem.given.values)
    watched = sum_losses(values, problem.watched_losses)
    return Look(estimate, torch.where(all_finite(gradients), watched, torch.nan), gradients)


def last_look(problem: Problem, movables: Movables) -> tuple[Tensor, Tensor]:
    """The watched loss (N,) and estimates (N, E), where there is no further to go."""
    estimate = _go_forward(problem, movables).estimates[:, -1]
    watched = problem.watched_losses
    values, _ = problem.evaluate(estimate, losses=watched, also=())
    return sum_losses(values, watched), estimate


def _go_forward(problem: Problem, movables: Movables) -> Rounds:
    head, constant = problem.head, movables[GIVEN].value
    return problem.arithmetic.go_forward(_matrices(movables), constant, head.start, head.iterations)


def _matrices(movables: Movables) -> Matrices:
    return {name: movable.value for name, movable in movables.items() if name != GIVEN}
