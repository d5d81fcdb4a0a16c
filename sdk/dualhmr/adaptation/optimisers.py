"""Optimisers as pure functions: parameters, gradients and state in, parameters and state out.

Out of place, so that a step can be differentiated through, mapped over samples and exported. They
are written in methods of tensors alone: schedules hold optimisers, and are read without PyTorch.
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


class State(NamedTuple):
    """What an optimiser remembers: the number of updates made, and moments by parameter."""

    updates: int
    first: Parameters
    second: Parameters


class Optimiser(Protocol):
    """An update rule."""

    @property
    def learning_rate(self) -> float:
        """The step size."""
        ...

    def start(self, parameters: Parameters) -> State:
        """The state before the first update."""
        ...

    def update(
        self, parameters: Parameters, gradients: Parameters, state: State
    ) -> tuple[Parameters, State]:
        """The parameters and the state after one update."""
        ...


@dataclass(frozen=True)
class GradientDescent:
    """w - rate x gradient, where a gradient longer than `max_norm` is first cut to that length.

    The length is that of all parameters' gradients together.
    """

    learning_rate: float
    max_norm: float | None = None

    def start(self, parameters: Parameters) -> State:  # noqa: ARG002
        """The state before the first update."""
        return State(0, {}, {})

    def update(
        self, parameters: Parameters, gradients: Parameters, state: State
    ) -> tuple[Parameters, State]:
        """The parameters and the state after one update."""
        rate: float | Tensor = self.learning_rate
        if self.max_norm is not None:
            squares = [gradient.square().sum() for gradient in gradients.values()]
            rate = rate * clip_scale(reduce(add, squares), self.max_norm)
        updated = {
            name: parameter - rate * gradients[name] for name, parameter in parameters.items()
        }
        return updated, State(state.updates + 1, {}, {})


def clip_scale(squared_norm: Tensor, max_norm: float) -> Tensor:
    """What to scale gradients of this squared length by, lest they be longer than `max_norm`."""
    # A floor keeps the root's derivative finite where the gradient vanishes.
    norm = squared_norm.clamp_min(_tiny(squared_norm)).sqrt()
    return (max_norm / norm).clamp_max(1.0)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015), with the bias correction of `torch.optim.Adam`."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, parameters: Parameters) -> State:
        """The state before the first update."""
        zeros = {
            name: parameter.new_zeros(parameter.shape) for name, parameter in parameters.items()
        }
        return State(0, zeros, dict(zeros))

    def update(
        self, parameters: Parameters, gradients: Parameters, state: State
    ) -> tuple[Parameters, State]:
        """The parameters and the state after one update."""
        updates = state.updates + 1
        first_scale = 1 - self.beta1**updates
        second_scale = 1 - self.beta2**updates
        updated, first, second = {}, {}, {}
        for name, parameter in parameters.items():
            gradient = gradients[name]
            first[name] = state.first[name].lerp(gradient, 1 - self.beta1)
            second[name] = (self.beta2 * state.second[name]).addcmul(
                gradient, gradient, value=1 - self.beta2
            )
            # Too small to count beside epsilon; but second order needs the root's derivative,
            # which is infinite where a gradient has always been zero.
            mean_square = second[name].clamp_min(_tiny(gradient))
            # Epsilon is scaled rather than the root: one pass over memory less.
            root = mean_square.sqrt() + self.epsilon * math.sqrt(second_scale)
            rate = self.learning_rate * math.sqrt(second_scale) / first_scale
            updated[name] = parameter.addcdiv(-rate * first[name], root)
        return updated, State(updates, first, second)


def _tiny(tensor: Tensor) -> float:
    """The smallest normal number in double precision, or in single."""
    return 2.0**-1022 if tensor.element_size() == 8 else 2.0**-126
