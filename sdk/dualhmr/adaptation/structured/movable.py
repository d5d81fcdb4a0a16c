"""What an optimiser moves: a matrix, or in its stead what it puts out for input that stays."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.structured.arithmetic import Arithmetic, Moments, Pace
from dualhmr.adaptation.structured.input_nodes import Nodes, input_nodes
from dualhmr.adaptation.structured.outer import Gradients, Outer, squared_norm
from dualhmr.schedules.optimisers import Adam, GradientDescent, Optimiser, clip_scale


class Movable(Protocol):
    """Has a gradient that is a sum of outer products, and moves against it."""

    @property
    def value(self) -> Tensor:
        """What the head's rounds read."""
        ...

    def rested(self) -> "Movable":
        """Without what an optimiser remembered: a phase begins."""
        ...

    def recycle(self) -> None:
        """Gives up its memory, as nobody needs it any more."""
        ...

    def descended(self, gradient: Outer, rate: float | Tensor) -> "Movable":
        """After a step down the gradient; `rate` is a number, or (N, 1, 1)."""
        ...

    def adapted(self, gradient: Outer, pace: Pace) -> "Movable":
        """After an update of Adam; what this one held may be overwritten."""
        ...


Movables = dict[str, Movable]
"""By the names of a head's matrices."""


@dataclass(frozen=True)
class Matrix:
    """A matrix (N, R, C)."""

    value: Tensor
    arithmetic: Arithmetic
    moments: Moments | None = None
    """None as long as Adam has not begun."""

    def rested(self) -> "Matrix":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Gives up what the arithmetic made."""
        if self.moments is not None:
            self.arithmetic.recycle((self.value, *self.moments))

    def descended(self, gradient: Outer, rate: float | Tensor) -> "Matrix":
        """W - rate left^T right."""
        value = torch.baddbmm(self.value, (-rate * gradient.left).mT, gradient.right)
        return replace(self, value=value)

    def adapted(self, gradient: Outer, pace: Pace) -> "Matrix":
        """By the dense rule."""
        value, moments = self.value, self.moments
        if moments is None:
            value, moments = self.arithmetic.begin(value)
        value, moments = self.arithmetic.adam(value, moments, gradient, pace)
        return replace(self, value=value, moments=moments)


class Given:
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
class Output:
    """k (N, 1, H), what a matrix (H, G + 1) that is not there puts out for what is given.

    The matrix's gradient is d c^T, where d (N, 1, H) is that with respect to k: so its moments
    are those of d, times c and c^2.
    """

    value: Tensor
    given: Given
    moments: Moments | None = None
    """Those of d."""

    @staticmethod
    def of(matrix: Tensor, given: Given) -> "Output":
        """That of `matrix` (H, G + 1)."""
        return Output(given.values @ matrix.mT, given)

    def rested(self) -> "Output":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Nothing to give up."""

    def descended(self, gradient: Outer, rate: float | Tensor) -> "Output":
        """The matrix moves by -rate d c^T, and k with it by -rate d |c|^2."""
        return replace(self, value=self.value - rate * self.given.squared_norm * gradient.left)

    def adapted(self, gradient: Outer, pace: Pace) -> "Output":
        """As the matrix moves by the dense rule: see `input_nodes`."""
        zeros = torch.zeros_like(self.value)
        moments = (self.moments or Moments(zeros, zeros)).after(gradient.left, pace)
        response = self.given.nodes.response(moments.root(), pace.floor)
        value = self.value - pace.rate * moments.first * response
        return replace(self, value=value, moments=moments)


def move(movables: Movables, gradients: Gradients, optimiser: Optimiser, updates: int) -> Movables:
    """All of them after one update, before which the optimiser made `updates` others.

    Before the first they are as they were, less what another optimiser remembered.
    Raises TypeError for an optimiser other than Adam and GradientDescent.
    """
    if updates == 0:
        movables = {name: movable.rested() for name, movable in movables.items()}
    if isinstance(optimiser, Adam):
        pace = Pace.of(optimiser, updates)
        return {name: one.adapted(gradients[name], pace) for name, one in movables.items()}
    if isinstance(optimiser, GradientDescent):
        rate: float | Tensor = optimiser.learning_rate
        if optimiser.max_norm is not None:
            rate = rate * clip_scale(squared_norm(gradients), optimiser.max_norm)[:, None, None]
        return {name: one.descended(gradients[name], rate) for name, one in movables.items()}
    raise TypeError(f"a structured step is by Adam or GradientDescent, got {optimiser!r}")
