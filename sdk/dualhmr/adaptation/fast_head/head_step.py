"""What an optimiser moves: a matrix, or in its stead what it puts out for input that stays."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import GIVEN, AffineHead, Matrices
from dualhmr.adaptation.fast_head.arithmetic import (
    Activations,
    AdamCoefficients,
    Arithmetic,
    Gradients,
    Moments,
    Outer,
    all_finite,
    gradients_of,
    squared_norm,
)
from dualhmr.adaptation.fast_head.rank_one_output import Nodes, input_nodes
from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser, clip_scale
from dualhmr.adaptation.step import Losses, sum_losses


class AdaptedMatrix(Protocol):
    """Has a gradient that is a sum of outer products, and moves against it."""

    @property
    def value(self) -> Tensor:
        """What the head's rounds read."""
        ...

    def reset(self) -> "AdaptedMatrix":
        """Without what an optimiser remembered: a phase begins."""
        ...

    def recycle(self) -> None:
        """Gives up its memory, as nobody needs it any more."""
        ...

    def descended(self, gradient: Outer, rate: float | Tensor) -> "AdaptedMatrix":
        """After a step down the gradient; `rate` is a number, or (N, 1, 1)."""
        ...

    def adapted(self, gradient: Outer, pace: AdamCoefficients) -> "AdaptedMatrix":
        """After an update of Adam; what this one held may be overwritten."""
        ...


AdaptedMatrices = dict[str, AdaptedMatrix]
"""By the names of a head's matrices."""


@dataclass(frozen=True)
class DenseMatrix:
    """A matrix (N, R, C)."""

    value: Tensor
    arithmetic: Arithmetic
    moments: Moments | None = None
    """None as long as Adam has not begun."""

    def reset(self) -> "DenseMatrix":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Gives up what the arithmetic made."""
        if self.moments is not None:
            self.arithmetic.recycle((self.value, *self.moments))

    def descended(self, gradient: Outer, rate: float | Tensor) -> "DenseMatrix":
        """W - rate left^T right."""
        value = torch.baddbmm(self.value, (-rate * gradient.left).mT, gradient.right)
        return replace(self, value=value)

    def adapted(self, gradient: Outer, pace: AdamCoefficients) -> "DenseMatrix":
        """By the dense rule."""
        value, moments = self.value, self.moments
        if moments is None:
            value, moments = self.arithmetic.begin(value)
        value, moments = self.arithmetic.adam(value, moments, gradient, pace)
        return replace(self, value=value, moments=moments)


class HeadInput:
    """What the head reads in every round alike: c and a 1, as (N, 1, G + 1)."""

    def __init__(self, given: Tensor) -> None:
        ones = given.new_ones(len(given), 1)
        self.values = torch.cat([given.detach(), ones], dim=1).unsqueeze(1)
        self.squared_norm = self.values.square().sum(-1, keepdim=True)

    @cached_property
    def nodes(self) -> Nodes:
        """What Adam needs to know of it."""
        return input_nodes(self.values)


@dataclass(frozen=True)
class RankOneOutput:
    """k (N, 1, H), what a matrix (H, G + 1) that is not there puts out for what is given.

    The matrix's gradient is d c^T, where d (N, 1, H) is that with respect to k: so its moments
    are those of d, times c and c^2.
    """

    value: Tensor
    given: HeadInput
    moments: Moments | None = None
    """Those of d."""

    @staticmethod
    def of(matrix: Tensor, given: HeadInput) -> "RankOneOutput":
        """That of `matrix` (H, G + 1)."""
        return RankOneOutput(given.values @ matrix.mT, given)

    def reset(self) -> "RankOneOutput":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Nothing to give up."""

    def descended(self, gradient: Outer, rate: float | Tensor) -> "RankOneOutput":
        """The matrix moves by -rate d c^T, and k with it by -rate d |c|^2."""
        return replace(self, value=self.value - rate * self.given.squared_norm * gradient.left)

    def adapted(self, gradient: Outer, pace: AdamCoefficients) -> "RankOneOutput":
        """As the matrix moves by the dense rule: see `input_nodes`."""
        zeros = torch.zeros_like(self.value)
        moments = (self.moments or Moments(zeros, zeros)).after(gradient.left, pace)
        response = self.given.nodes.response(moments.root(), pace.floor)
        value = self.value - pace.rate * moments.first * response
        return replace(self, value=value, moments=moments)


def move(
    movables: AdaptedMatrices, gradients: Gradients, optimiser: Optimiser, updates: int
) -> AdaptedMatrices:
    """All of them after one update, before which the optimiser made `updates` others.

    Before the first they are as they were, less what another optimiser remembered.
    Raises TypeError for an optimiser other than Adam and GradientDescent.
    """
    if updates == 0:
        movables = {name: movable.reset() for name, movable in movables.items()}
    if isinstance(optimiser, Adam):
        pace = AdamCoefficients.of(optimiser, updates)
        return {name: one.adapted(gradients[name], pace) for name, one in movables.items()}
    if isinstance(optimiser, GradientDescent):
        rate: float | Tensor = optimiser.learning_rate
        if optimiser.max_norm is not None:
            rate = rate * clip_scale(squared_norm(gradients), optimiser.max_norm)[:, None, None]
        return {name: one.descended(gradients[name], rate) for name, one in movables.items()}
    raise TypeError(f"a structured step is by Adam or GradientDescent, got {optimiser!r}")


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
    given: HeadInput
    evaluate: Evaluate
    watched_losses: Collection[str] | None
    arithmetic: Arithmetic

    def start(self) -> AdaptedMatrices:
        """The head as it is, for every person; what is given enters by what fc1 makes of it."""
        persons = len(self.given.values)
        return {
            name: RankOneOutput.of(matrix, self.given)
            if name == GIVEN
            else DenseMatrix(matrix.expand(persons, *matrix.shape), self.arithmetic)
            for name, matrix in self.head.matrices.items()
        }


class HeadEvaluation(NamedTuple):
    """What the head makes of the given."""

    estimate: Tensor
    """(N, E)."""
    watched: Tensor
    """(N,), the loss that is watched, NaN for those whose gradient is not finite."""
    gradients: Gradients
    """Of the sum of the losses that are descended on."""


def evaluate_head(
    problem: Problem, movables: AdaptedMatrices, losses: Collection[str] | None
) -> HeadEvaluation:
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
    return HeadEvaluation(
        estimate, torch.where(all_finite(gradients), watched, torch.nan), gradients
    )


def evaluate_last(problem: Problem, movables: AdaptedMatrices) -> tuple[Tensor, Tensor]:
    """The watched loss (N,) and estimates (N, E), where there is no further to go."""
    estimate = _go_forward(problem, movables).estimates[:, -1]
    watched = problem.watched_losses
    values, _ = problem.evaluate(estimate, losses=watched, also=())
    return sum_losses(values, watched), estimate


def _go_forward(problem: Problem, movables: AdaptedMatrices) -> Activations:
    head, constant = problem.head, movables[GIVEN].value
    return problem.arithmetic.go_forward(_matrices(movables), constant, head.start, head.iterations)


def _matrices(movables: AdaptedMatrices) -> Matrices:
    return {name: movable.value for name, movable in movables.items() if name != GIVEN}
