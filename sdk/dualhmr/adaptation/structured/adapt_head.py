"""Adapting an affine iterative head to people, to each of them alone, with its structure used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from dualhmr.adaptation.course import Course, Recorder
from dualhmr.adaptation.structured.affine_head import AffineHead
from dualhmr.adaptation.structured.arithmetic import Arithmetic
from dualhmr.adaptation.structured.arithmetic_for import arithmetic_for
from dualhmr.adaptation.structured.look import Evaluate, Problem, last_look, look
from dualhmr.adaptation.structured.movable import Given, Movables, move
from dualhmr.adaptation.structured.rebuild import Taken, rebuild
from dualhmr.adaptation.structured.records import Records
from dualhmr.schedules.optimisers import Parameters
from dualhmr.schedules.schedule import Schedule


@dataclass(frozen=True)
class HeadAdaptation(Course):
    """How the adaptation of a head went, and what came of it."""

    rebuild: Callable[[], Parameters] = field(repr=False, compare=False)
    """Takes the steps up to the best one again, with all of the head's parameters."""

    @cached_property
    def parameters(self) -> Parameters:
        """Those of the best iterate, as the head was made from; built when first asked for."""
        return self.rebuild()


def adapt_head(
    head: AffineHead,
    given: Tensor,
    evaluate: Evaluate,
    schedule: Schedule,
    *,
    output: Callable[[Tensor], object] = lambda estimate: estimate,
    arithmetic: Arithmetic | None = None,
) -> HeadAdaptation:
    """What `adapt` says of the head's parameters, for one person.

    `given` (1, G) is what the head reads beside its estimate, `output` makes of an estimate (1, E)
    what is to be kept of an iterate, and `arithmetic` is the fastest unless said otherwise.
    Raises ValueError where `adapt` does, and for a `given` that is not the head's.
    """
    if given.shape[0] != 1:
        raise ValueError(f"given is {tuple(given.shape)}, expected one person: (1, G)")
    (adaptation,) = adapt_heads(
        head, given, evaluate, schedule, output=output, arithmetic=arithmetic
    )
    return adaptation


@torch.no_grad()
def adapt_heads(
    head: AffineHead,
    given: Tensor,
    evaluate: Evaluate,
    schedule: Schedule,
    *,
    output: Callable[[Tensor], object] = lambda estimate: estimate,
    arithmetic: Arithmetic | None = None,
) -> tuple[HeadAdaptation, ...]:
    """What `adapt_head` says of each of N persons, `given` (N, G), side by side.

    That pays where one person leaves a device idle; on a CPU, take one after the other. They go on
    until all have stopped or the schedule ends; what somebody does after their own stop is not
    kept. Raises ValueError as `adapt_head`, naming the first person that it is about.
    """
    head.check_given(given)
    arithmetic = arithmetic or arithmetic_for(given)
    problem = Problem(head, Given(given), evaluate, schedule.watched_losses, arithmetic)
    recorders = [Recorder(schedule.tolerance) for _ in given]
    taken = _run(problem, schedule, Records(recorders, output)) if len(given) else []
    return adaptations(head, arithmetic, recorders, taken)


def adaptations(
    head: AffineHead,
    arithmetic: Arithmetic,
    recorders: Sequence[Recorder],
    taken: Sequence[Taken],
) -> tuple[HeadAdaptation, ...]:
    """Everybody's, from what was recorded of each and the steps that all took side by side."""
    made = []
    for person, recorder in enumerate(recorders):
        course = recorder.course()
        again = partial(rebuild, head, arithmetic, taken[: course.best_step], person)
        made.append(HeadAdaptation(**vars(course), rebuild=again))
    return tuple(made)


def _run(problem: Problem, schedule: Schedule, records: Records) -> list[Taken]:
    """Takes the steps, and says which."""
    movables, taken = _take_steps(problem, schedule, records)
    for movable in movables.values():
        movable.recycle()
    return taken


def _take_steps(
    problem: Problem, schedule: Schedule, records: Records
) -> tuple[Movables, list[Taken]]:
    movables = problem.start()
    taken: list[Taken] = []
    for phase in schedule.phases:
        records.enter_phase()
        for updates in range(phase.steps):
            seen = look(problem, movables, phase.losses)
            records.record(seen.watched, seen.estimate)
            if records.all_stopped:
                return movables, taken
            taken.append(Taken(phase.optimiser, updates, seen.gradients))
            movables = move(movables, seen.gradients, phase.optimiser, updates)
    records.record(*last_look(problem, movables))
    return movables, taken
