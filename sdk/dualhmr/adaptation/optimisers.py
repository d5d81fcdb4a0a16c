"""Optimisers as pure functions: parameters, gradients and state in, parameters and state out.

Nothing is changed in place, so a step can be differentiated through, mapped over samples and
exported. Schedules hold optimisers and are read without PyTorch, so only type checkers import it
here at the top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Parameters: TypeAlias = "dict[str, Tensor]"


class OptimiserState(NamedTuple):
    """The number of updates made, and Adam's moments by parameter; empty for gradient descent."""

    updates: int
    first: Parameters
    second: Parameters


class Optimiser(Protocol):
    """An update rule."""

    @property
    def learning_rate(self) -> float:
        """The step size."""
        ...

    def start(self, parameters: Parameters) -> OptimiserState:
        """The state before the first update."""
        ...

    def update(
        self, parameters: Parameters, gradients: Parameters, state: OptimiserState
    ) -> tuple[Parameters, OptimiserState]:
        """The parameters and the state after one update."""
        ...


@dataclass(frozen=True)
class GradientDescent:
    """w - rate x gradient, where a gradient longer than `max_norm` is first scaled to that norm.

    The norm is that of all parameters' gradients together.
    """

    learning_rate: float
    max_norm: float | None = None

    def start(self, parameters: Parameters) -> OptimiserState:  # noqa: ARG002
        """The state before the first update."""
        return OptimiserState(0, {}, {})

    def update(
        self, parameters: Parameters, gradients: Parameters, state: OptimiserState
    ) -> tuple[Parameters, OptimiserState]:
        """The parameters and the state after one update."""
        rate: float | Tensor = self.learning_rate
        if self.max_norm is not None:
            squares = [gradient.square().sum() for gradient in gradients.values()]
            rate = rate * clip_scale(reduce(add, squares), self.max_norm)
        updated = {
            name: parameter - rate * gradients[name] for name, parameter in parameters.items()
        }
        return updated, OptimiserState(state.updates + 1, {}, {})


def clip_scale(squared_norm: Tensor, max_norm: float) -> Tensor:
    """The factor, at most 1, that limits gradients of this squared norm to `max_norm`."""
    # A floor keeps the root's derivative finite where the gradient vanishes.
    norm = squared_norm.clamp_min(_smallest_normal(squared_norm)).sqrt()
    return (max_norm / norm).clamp_max(1.0)


class AdamCoefficients(NamedTuple):
    """The numbers of one Adam update, bias correction included.

        m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2,
        w <- w - rate m / (sqrt v + epsilon)

    `rate` and `epsilon` are tensors () where a captured graph or a loop in ONNX reads them.
    """

    beta1: float
    beta2: float
    rate: float | Tensor
    epsilon: float | Tensor


class Moments(NamedTuple):
    """Adam's moving means of a gradient and of its square, m and v."""

    first: Tensor
    second: Tensor

    def updated(self, gradient: Tensor, coefficients: AdamCoefficients) -> Moments:
        """The moments after one more gradient."""
        beta1, beta2 = coefficients.beta1, coefficients.beta2
        first = self.first.lerp(gradient, 1 - beta1)
        second = (beta2 * self.second).addcmul(gradient, gradient, value=1 - beta2)
        return Moments(first, second)

    def root(self) -> Tensor:
        """The square root of v, never quite zero.

        The floor is too small to count beside epsilon. But second-order gradients need the root's
        derivative, which is infinite where a gradient has always been zero.
        """
        return self.second.clamp_min(_smallest_normal(self.second)).sqrt()


def adam_update(
    parameter: Tensor, moments: Moments, gradient: Tensor, coefficients: AdamCoefficients
) -> tuple[Tensor, Moments]:
    """One Adam update of one tensor: the parameter and its moments, all new tensors."""
    moments = moments.updated(gradient, coefficients)
    root = moments.root() + coefficients.epsilon
    return parameter.addcdiv(-coefficients.rate * moments.first, root), moments


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015), with the bias correction of `torch.optim.Adam`."""

    learning_rate: float
    """About how far each weight moves in a step."""
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def coefficients(self, updates: int) -> AdamCoefficients:
        """Those of the update that follows `updates` others."""
        # The correction of v, 1 / (1 - beta2^t), moves from under the root to rate and epsilon:
        # that saves one pass over memory.
        root = math.sqrt(1 - self.beta2 ** (updates + 1))
        rate = self.learning_rate * root / (1 - self.beta1 ** (updates + 1))
        return AdamCoefficients(self.beta1, self.beta2, rate, self.epsilon * root)

    def start(self, parameters: Parameters) -> OptimiserState:
        """The state before the first update."""
        zeros = {
            name: parameter.new_zeros(parameter.shape) for name, parameter in parameters.items()
        }
        return OptimiserState(0, zeros, dict(zeros))

    def update(
        self, parameters: Parameters, gradients: Parameters, state: OptimiserState
    ) -> tuple[Parameters, OptimiserState]:
        """The parameters and the state after one update."""
        coefficients = self.coefficients(state.updates)
        updated, first, second = {}, {}, {}
        for name, parameter in parameters.items():
            moments = Moments(state.first[name], state.second[name])
            updated[name], (first[name], second[name]) = adam_update(
                parameter, moments, gradients[name], coefficients
            )
        return updated, OptimiserState(state.updates + 1, first, second)


def _smallest_normal(tensor: Tensor) -> float:
    """The smallest positive normal number of the tensor's dtype."""
    import torch

    return torch.finfo(tensor.dtype).tiny
