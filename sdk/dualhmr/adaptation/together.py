"""Adapting one network to many people at once, to each of them alone.

Every person has parameters of their own. They take their steps side by side, which costs less than
one person after the other where a step is short beside the overhead of its operations.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.adaptation.course import Course, Recorder
from dualhmr.adaptation.step import Losses, adaptation_step, all_finite, sum_losses
from dualhmr.schedules.optimisers import Parameters, State
from dualhmr.schedules.schedule import Phase, Schedule

PersonLossFunction = Callable[[Parameters, Any, Collection[str] | None], tuple[Losses, object]]
"""A `LossFunction` that is given, between its arguments, what is known of the person."""

_Moments = tuple[Parameters, Parameters]


@torch.no_grad()
def adapt_together(
    parameters: Parameters,
    loss_function: PersonLossFunction,
    people: Any,
    schedule: Schedule,
    *,
    chunk: int = 32,
) -> tuple[Course, ...]:
    """What `adapt` says of each of N persons, who all start from `parameters`.

    `people` is what is known of them: tensors (N, ...), and None, in tuples or dicts however
    nested. `loss_function` gets one person's, without the first axis, and is mapped over persons
    with `torch.func.vmap`. They go on side by side, `chunk` at a time, until all have stopped or
    the schedule ends; what somebody does after their own stop is not kept.

    Raises ValueError naming the first person whose loss or gradient at the start is not finite.
    """
    tensors = [leaf for leaf in pytree.tree_leaves(people) if isinstance(leaf, Tensor)]
    courses: list[Course] = []
    for first in range(0, len(tensors[0]), chunk):
        persons = range(first, min(first + chunk, len(tensors[0])))
        known = _rows(people, slice(persons.start, persons.stop))
        courses += _Group(loss_function, known, persons, schedule).run(parameters)
    return tuple(courses)


def _rows(tree: Any, which: slice | int) -> Any:
    """Some of the persons, or one of them without the axis."""
    return pytree.tree_map_only(Tensor, lambda leaf: leaf[which], tree)


class _Group:
    """The persons that are adapted at a time."""

    def __init__(
        self, loss_function: PersonLossFunction, known: Any, persons: range, schedule: Schedule
    ) -> None:
        self._loss_function = loss_function
        self._known = known
        self._axes = pytree.tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, known)
        self._persons = persons
        self._schedule = schedule
        self._recorders = [Recorder(schedule.tolerance) for _ in persons]

    def run(self, start: Parameters) -> list[Course]:
        count = len(self._persons)
        parameters = {name: one.expand(count, *one.shape) for name, one in start.items()}
        for phase in self._schedule.phases:
            for recorder in self._recorders:
                recorder.enter_phase()
            moments = self._start(phase, parameters)
            for updates in range(phase.steps):
                updated, moments, watched, output = self._step(phase, updates, parameters, moments)
                self._record(watched, output)
                if all(recorder.stop_reason for recorder in self._recorders):
                    return self._courses()
                parameters = updated
        self._record(*self._look(parameters))
        return self._courses()

    def _start(self, phase: Phase, parameters: Parameters) -> _Moments:
        moments: _Moments = torch.func.vmap(lambda own: phase.optimiser.start(own)[1:])(parameters)
        return moments

    def _step(
        self, phase: Phase, updates: int, parameters: Parameters, moments: _Moments
    ) -> tuple[Parameters, _Moments, Tensor, object]:
        """Parameters, moments, the watched loss (NaN for a gradient that is not finite), output."""
        watched_losses = self._schedule.watched_losses

        def step_of_one(own: Parameters, moments: _Moments, known: Any) -> Any:
            step = adaptation_step(
                own,
                lambda parameters, names: self._loss_function(parameters, known, names),
                phase.optimiser,
                State(updates, *moments),
                losses=phase.losses,
                also=watched_losses,
            )
            watched = sum_losses(step.losses, watched_losses)
            watched = torch.where(all_finite(step.gradients), watched, torch.nan)
            return step.parameters, tuple(step.state[1:]), watched, step.output

        return torch.func.vmap(step_of_one, in_dims=(0, 0, self._axes))(
            parameters, moments, self._known
        )

    def _look(self, parameters: Parameters) -> tuple[Tensor, object]:
        """The watched loss, and the output."""

        def look_at_one(own: Parameters, known: Any) -> tuple[Tensor, object]:
            losses, output = self._loss_function(own, known, self._schedule.watched_losses)
            return sum_losses(losses, self._schedule.watched_losses), output

        return torch.func.vmap(look_at_one, in_dims=(0, self._axes))(parameters, self._known)

    def _record(self, watched: Tensor, output: object) -> None:
        for index, loss in enumerate(watched.tolist()):
            recorder = self._recorders[index]
            if recorder.stop_reason:
                continue
            try:
                recorder.record(loss, _rows(output, index))
            except ValueError as error:
                raise ValueError(f"person {self._persons[index]}: {error}") from error

    def _courses(self) -> list[Course]:
        return [recorder.course() for recorder in self._recorders]
