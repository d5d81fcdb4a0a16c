"""A schedule as a list of steps, some of them alike, with the numbers in which they differ."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.structured.arithmetic import Pace
from dualhmr.schedules import Adam, Optimiser, Schedule


class Kind(NamedTuple):
    """Steps of a kind share a graph."""

    losses: tuple[str, ...] | None
    optimiser: Optimiser


class Planned(NamedTuple):
    """A step of a schedule, or the last look."""

    kind: Kind | None
    """None for the last look."""
    updates: int
    enters_phase: bool


def planned(schedule: Schedule) -> Iterator[Planned]:
    """All steps, then the last look."""
    enters = False
    for phase in schedule.phases:
        losses = None if phase.losses is None else tuple(phase.losses)
        enters = True
        for updates in range(phase.steps):
            yield Planned(Kind(losses, phase.optimiser), updates, enters)
            enters = False
    yield Planned(None, 0, enters)


def paces(plan: list[Planned], rows: int, like: Tensor) -> Tensor:
    """Rates and floors of all steps, (2, rows); zero where the optimiser is not Adam."""
    numbers = torch.zeros(2, rows, dtype=torch.float64)
    for row, step in enumerate(plan):
        if step.kind and isinstance(step.kind.optimiser, Adam):
            pace = Pace.of(step.kind.optimiser, step.updates)
            numbers[:, row] = torch.tensor([pace.rate, pace.floor], dtype=torch.float64)
    return numbers.to(like)
