"""Optimisers as pure functions: parameters, gradients and state in, parameters and state out.

Out of place, so that a step can be differentiated through, mapped over samples and exported.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


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
    """w - rate x gradient."""

    learning_rate: float

    def start(self, parameters: Parameters) -> State:  # noqa: ARG002
        """The state before the first update."""
        return State(0, {}, {})

    def update(
        self, parameters: Parameters, gradients: Parameters, state: State
    ) -> tuple[Parameters, State]:
        """The parameters and the state after one update."""
        updated = {
            name: parameter - self.learning_rate * gradients[name]
            for name, parameter in parameters.items()
        }
        return updated, State(state.updates + 1, {}, {})


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015), with the bias correction of `torch.optim.Adam`."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, parameters: Parameters) -> State:
        """The state before the first update."""
        zeros = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
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
            first[name] = torch.lerp(state.first[name], gradient, 1 - self.beta1)
            second[name] = torch.lerp(state.second[name], gradient * gradient, 1 - self.beta2)
            # Too small to count beside epsilon; but second order needs the root's derivative,
            # which is infinite where a gradient has always been zero.
            mean_square = (second[name] / second_scale).clamp_min(torch.finfo(gradient.dtype).tiny)
            scale = mean_square.sqrt() + self.epsilon
            updated[name] = parameter - self.learning_rate / first_scale * first[name] / scale
        return updated, State(updates, first, second)
