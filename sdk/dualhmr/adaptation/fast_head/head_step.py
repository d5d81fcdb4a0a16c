"""One step of a head's adaptation: evaluate the head, then update its matrices."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import ON_INPUT, AffineHead, Matrices
from dualhmr.adaptation.fast_head.arithmetic import Arithmetic
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    MatrixGradients,
    OuterProducts,
    matrix_gradients,
    nan_unless_finite,
    squared_norm,
)
from dualhmr.adaptation.fast_head.rank_one_output import HeadInput, RankOneOutput
from dualhmr.adaptation.optimisers import (
    Adam,
    AdamCoefficients,
    GradientDescent,
    Moments,
    Optimiser,
    clip_scale,
)
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.adaptation.step import Losses, sum_losses


class AdaptedMatrix(Protocol):
    """A matrix of the head under adaptation, or the output that stands for one."""

    @property
    def value(self) -> Tensor:
        """What the head's iterations read."""
        ...

    @property
    def moments(self) -> Moments | None:
        """Adam's; None before its first update in a phase."""
        ...

    def reset(self) -> "AdaptedMatrix":
        """Without moments, as at the start of a phase."""
        ...

    def recycle(self) -> None:
        """Gives its memory to the arithmetic; the matrix must not be used afterwards."""
        ...

    def gradient_step(self, gradient: OuterProducts, rate: float | Tensor) -> "AdaptedMatrix":
        """After a step down the gradient; `rate` is a number, or (N, 1, 1)."""
        ...

    def adam_step(self, gradient: OuterProducts, coefficients: AdamCoefficients) -> "AdaptedMatrix":
        """After an update of Adam; the tensors of this one may be overwritten."""
        ...


AdaptedMatrices = dict[str, AdaptedMatrix]
"""By the names of a head's matrices."""


@dataclass(frozen=True)
class DenseMatrix:
    """A matrix (N, R, C) that is updated as such."""

    value: Tensor
    arithmetic: Arithmetic
    moments: Moments | None = None

    def reset(self) -> "DenseMatrix":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Gives matrix and moments to the arithmetic, if it made them."""
        if self.moments is not None:
            self.arithmetic.recycle((self.value, *self.moments))

    def gradient_step(self, gradient: OuterProducts, rate: float | Tensor) -> "DenseMatrix":
        """W - rate left^T right."""
        value = torch.baddbmm(self.value, (-rate * gradient.left).mT, gradient.right)
        return replace(self, value=value)

    def adam_step(self, gradient: OuterProducts, coefficients: AdamCoefficients) -> "DenseMatrix":
        """By the arithmetic."""
        value, moments = self.value, self.moments
        if moments is None:
            value, moments = self.arithmetic.start_adam(value)
        value, moments = self.arithmetic.adam(value, moments, gradient, coefficients)
        return replace(self, value=value, moments=moments)


def update_matrices(
    matrices: AdaptedMatrices, gradients: MatrixGradients, optimiser: Optimiser, updates: int
) -> AdaptedMatrices:
    """All matrices after an update of `optimiser`, which has made `updates` others in this phase.

    Before the first one the moments of an earlier phase are dropped. Raises TypeError for an
    optimiser other than Adam and GradientDescent.
    """
    if updates == 0:
        matrices = {name: matrix.reset() for name, matrix in matrices.items()}
    if isinstance(optimiser, Adam):
        return adam_step(matrices, gradients, optimiser.coefficients(updates))
    if isinstance(optimiser, GradientDescent):
        rate: float | Tensor = optimiser.learning_rate
        if optimiser.max_norm is not None:
            rate = rate * clip_scale(squared_norm(gradients), optimiser.max_norm)[:, None, None]
        return descent_step(matrices, gradients, rate)
    raise TypeError(f"a step of the fast head is by Adam or GradientDescent, got {optimiser!r}")


def adam_step(
    matrices: AdaptedMatrices, gradients: MatrixGradients, coefficients: AdamCoefficients
) -> AdaptedMatrices:
    """All matrices after an update of Adam."""
    return {
        name: matrix.adam_step(gradients[name], coefficients) for name, matrix in matrices.items()
    }


def descent_step(
    matrices: AdaptedMatrices, gradients: MatrixGradients, rate: float | Tensor
) -> AdaptedMatrices:
    """All matrices after a step down the gradient; `rate` is a number, or (N, 1, 1)."""
    return {name: matrix.gradient_step(gradients[name], rate) for name, matrix in matrices.items()}


class Evaluate(Protocol):
    """Losses of estimates (N, E), by name, each (N,); and a gradient (N, E).

    The gradient is that of the sum of the losses named `losses`; those in `also` are only
    evaluated. None means all, in either. Called with autograd off.
    """

    def __call__(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[Losses, Tensor]:
        """Losses and gradient."""
        ...


class Problem(NamedTuple):
    """What stays the same from step to step, for N persons."""

    head: AffineHead
    head_input: HeadInput
    evaluate: Evaluate
    schedule: Schedule
    arithmetic: Arithmetic

    def start(self) -> AdaptedMatrices:
        """The head's matrices before the first step, for every person."""
        persons = len(self.head_input.values)
        matrices: AdaptedMatrices = {
            name: DenseMatrix(matrix.expand(persons, *matrix.shape), self.arithmetic)
            for name, matrix in self.head.matrices.items()
        }
        output = self.head_input.values @ self.head.matrices[ON_INPUT].mT
        return matrices | {ON_INPUT: RankOneOutput(output, self.head_input)}


class HeadEvaluation(NamedTuple):
    """The head's output, how good it is, and how to improve it."""

    activations: Activations
    watched_loss: Tensor
    """(N,), NaN for persons whose gradient is not finite."""
    minimised_loss: Tensor
    """(N,), what the step minimises."""
    gradients: MatrixGradients
    """Of the minimised loss."""

    @property
    def estimate(self) -> Tensor:
        """(N, E)."""
        return self.activations.estimates[:, -1]


def evaluate_head(problem: Problem, matrices: AdaptedMatrices, phase: Phase) -> HeadEvaluation:
    """Runs the head forward and backward, for the sum of losses that a step of `phase` minimises.

    Raises ValueError where `evaluate` returns a gradient of another shape than the estimates.
    """
    activations = _forward(problem, matrices)
    estimate = activations.estimates[:, -1]
    watched = problem.schedule.watched
    values, gradient = problem.evaluate(estimate, losses=phase.losses, also=watched.losses)
    if gradient.shape != estimate.shape:
        raise ValueError(
            f"evaluate returned a gradient {tuple(gradient.shape)} for estimates "
            f"{tuple(estimate.shape)}; expected the same shape"
        )
    if phase.scale != 1:
        gradient = phase.scale * gradient
    through_head = _backward(problem, matrices, activations, gradient)
    gradients = matrix_gradients(activations, through_head, problem.head_input.values)
    loss = sum_losses(values, watched.losses, watched.scale)
    loss = nan_unless_finite(loss, gradients)
    minimised = sum_losses(values, phase.losses, phase.scale)
    return HeadEvaluation(activations, loss, minimised, gradients)


def evaluate_last(problem: Problem, matrices: AdaptedMatrices) -> tuple[Tensor, Tensor]:
    """The watched loss (N,) and estimates (N, E) after the last step: forward only."""
    estimate = _forward(problem, matrices).estimates[:, -1]
    watched = problem.schedule.watched
    values, _ = problem.evaluate(estimate, losses=watched.losses, also=())
    return sum_losses(values, watched.losses, watched.scale), estimate


def _forward(problem: Problem, matrices: AdaptedMatrices) -> Activations:
    head, constant = problem.head, matrices[ON_INPUT].value
    if not head.has_hidden_layers:  # every iteration adds the same
        count = torch.arange(head.iterations + 1, dtype=constant.dtype, device=constant.device)
        return Activations(head.start + count[:, None] * constant, ())
    dense = _dense_values(matrices)
    return problem.arithmetic.forward(dense, constant, head.start, head.iterations)


def _backward(
    problem: Problem, matrices: AdaptedMatrices, activations: Activations, gradient: Tensor
) -> ActivationGradients:
    if not problem.head.has_hidden_layers:
        return ActivationGradients(
            gradient.unsqueeze(1).expand(-1, problem.head.iterations, -1), ()
        )
    return problem.arithmetic.backward(_dense_values(matrices), activations, gradient)


def _dense_values(matrices: AdaptedMatrices) -> Matrices:
    return {name: matrix.value for name, matrix in matrices.items() if name != ON_INPUT}
