"""Adapting heads with a whole step as one CUDA graph, which is captured once and replayed.

On a GPU an eager step is hundreds of launches, each of which costs more than its kernel. Captured,
a step is one launch, and nothing is read back until a few of them are done: what they saw is on a
tape on the device, and who has stopped is found out from there, by the rules of `adapt_heads`. What
was done in vain after the last one's stop is not kept.

It has not run on a GPU yet; the same loop with an eager stand-in for graphs is held to
`adapt_heads` by tests.
"""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor

from dualhmr.adaptation.course import Recorder
from dualhmr.adaptation.structured.adapt_head import HeadAdaptation, adaptations
from dualhmr.adaptation.structured.affine_head import GIVEN, AffineHead
from dualhmr.adaptation.structured.arithmetic import Arithmetic, Moments, Pace
from dualhmr.adaptation.structured.arithmetic_for import arithmetic_for
from dualhmr.adaptation.structured.buffers import own, refill
from dualhmr.adaptation.structured.look import Evaluate, Problem, last_look, look
from dualhmr.adaptation.structured.movable import Given, Matrix, Movable, Movables, Output, move
from dualhmr.adaptation.structured.outer import Gradients
from dualhmr.adaptation.structured.plan import Kind, paces, planned
from dualhmr.adaptation.structured.rebuild import Taken
from dualhmr.adaptation.structured.records import Records
from dualhmr.adaptation.structured.replay import (
    MOST_WARM_UPS,
    Replay,
    Work,
    replay_for,
    without_tf32,
)
from dualhmr.adaptation.structured.tape import Tape
from dualhmr.schedules import Adam, Optimiser, Schedule

_BLOCK = 4


class CapturedHeads:
    """Adapts a head to N persons at a time, one group of them after the other.

    It keeps the memory and the graphs for the number of persons and the schedule that it was made
    for: matrices and moments of all persons, and copies of all tensors that `evaluate` holds, which
    are filled from another group's at every call. Not for several threads at once.
    """

    def __init__(
        self,
        head: AffineHead,
        evaluate: Evaluate,
        schedule: Schedule,
        persons: int,
        *,
        shared: Collection[object] = (),
        replay: Replay | None = None,
        arithmetic: Arithmetic | None = None,
        block: int = _BLOCK,
    ) -> None:
        """Captures a graph for every kind of step, which takes some milliseconds each.

        `evaluate` is that of any such persons, `shared` what is the same for all persons and need
        not be copied, such as the objective. `block` steps are taken between looks at who has
        stopped. Raises ValueError for less than one person or step a block, and TypeError for an
        optimiser or `evaluate` that cannot be captured.
        """
        if persons < 1 or block < 1:
            raise ValueError(f"{persons} persons, {block} steps a block; expected at least one")
        self._head, self._schedule, self._persons = head, schedule, persons
        self._arithmetic = arithmetic or arithmetic_for(head.start)
        self._plan = list(planned(schedule))
        self._blocks = [range(i, i + block) for i in range(0, len(self._plan), block)]
        rows = max(len(self._plan), MOST_WARM_UPS + 1)
        self._tape = Tape(head, persons, rows)
        self._paces = paces(self._plan, rows, head.start)
        given = own(_prepared(head.start.new_zeros(persons, head.given_count)))
        evaluate = own(evaluate, shared)
        self._problem = Problem(head, given, evaluate, schedule.watched_losses, self._arithmetic)
        self._movables = self._own_movables()
        self._replays = self._captured(replay or replay_for(head.start.device))

    @torch.no_grad()
    def adapt(
        self,
        given: Tensor,
        evaluate: Evaluate,
        *,
        output: Callable[[Tensor], object] = lambda estimate: estimate,
    ) -> tuple[HeadAdaptation, ...]:
        """What `adapt_heads` says of the persons whose `given` (N, G) and `evaluate` these are.

        Raises ValueError as that does, for another number of persons, and for an `evaluate` whose
        structure is not that of the captured one.
        """
        self._head.check_given(given)
        if len(given) != self._persons:
            raise ValueError(f"given is of {len(given)} persons, captured for {self._persons}")
        with without_tf32():
            prepared = _prepared(given)
            self._fill(prepared, evaluate)
        recorders = [Recorder(self._schedule.tolerance) for _ in given]
        taken = self._run(prepared.values, Records(recorders, output))
        return adaptations(self._head, self._arithmetic, recorders, taken)

    def _run(self, given: Tensor, records: Records) -> list[Taken]:
        """Takes the steps, and says which."""
        taken: list[Taken] = []
        for block in self._blocks:
            steps = self._plan[block.start : block.stop]
            for step in steps:
                if step.kind and step.updates == 0 and isinstance(step.kind.optimiser, Adam):
                    self._rest()
                self._replays[step.kind]()
            rows = self._tape.read(block.start, block.start + len(steps))
            for step, row in zip(steps, rows, strict=True):
                if step.enters_phase:
                    records.enter_phase()
                records.record(row.watched, row.estimate)
                if records.all_stopped or step.kind is None:
                    return taken
                gradients = self._tape.gradients(row, given)
                taken.append(Taken(step.kind.optimiser, step.updates, gradients))
        raise AssertionError("the plan ends with the last look")

    def _captured(self, replay: Replay) -> dict[Kind | None, Work]:
        replays: dict[Kind | None, Work] = {}
        for kind in dict.fromkeys(step.kind for step in self._plan):
            # Whatever a warm-up computes from zeros is overwritten before it counts.
            self._tape.index.zero_()
            work = self._last_look if kind is None else partial(self._step, kind)
            with torch.no_grad(), without_tf32():
                replays[kind] = replay.capture(work)
        return replays

    def _step(self, kind: Kind) -> None:
        seen = look(self._problem, self._movables, kind.losses)
        self._tape.write(seen)
        moved = self._moved(kind.optimiser, seen.gradients)
        for name, movable in self._movables.items():
            _settle(movable, moved[name])
        self._tape.index.add_(1)

    def _last_look(self) -> None:
        self._tape.write_last(*last_look(self._problem, self._movables))

    def _moved(self, optimiser: Optimiser, gradients: Gradients) -> Movables:
        if not isinstance(optimiser, Adam):
            return move(self._movables, gradients, optimiser, updates=1)
        # Indexing with `[]` would wait for the device.
        rate, floor = self._paces.index_select(1, self._tape.index).squeeze(1).unbind()
        pace = Pace(optimiser.beta1, optimiser.beta2, rate, floor)
        return {name: one.adapted(gradients[name], pace) for name, one in self._movables.items()}

    def _own_movables(self) -> Movables:
        """Matrices, and the output for what is given, with moments, in memory that stays."""
        movables: Movables = {}
        for name, movable in self._problem.start().items():
            # Not `own`, as a head's matrix for many persons is one matrix in memory.
            value, first, second = (
                movable.value.clone(memory_format=torch.contiguous_format) for _ in range(3)
            )
            moments = Moments(first, second)
            if name == GIVEN:
                movables[name] = Output(value, self._problem.given, moments)
            else:
                movables[name] = Matrix(value, self._arithmetic, moments)
        return movables

    def _fill(self, given: Given, evaluate: Evaluate) -> None:
        """The persons' evidence, and the head as it is."""
        refill(self._problem.given, given)
        refill(self._problem.evaluate, evaluate)
        for name, movable in self._problem.start().items():
            self._movables[name].value.copy_(movable.value)
        self._tape.index.zero_()

    def _rest(self) -> None:
        """A phase of Adam begins."""
        for movable in self._movables.values():
            for moment in _moments(movable):
                moment.zero_()


def _prepared(given: Tensor) -> Given:
    """With its nodes, which cannot be captured; where it is not finite, neither is the loss."""
    prepared = Given(given)
    finite = Given(torch.where(torch.isfinite(given), given, 0.0))
    vars(prepared)["nodes"] = finite.nodes
    return prepared


def _settle(mine: Movable, moved: Movable) -> None:
    """Writes what moved into the memory that stays, where it is not there already."""
    for tensor, value in zip(
        (mine.value, *_moments(mine)), (moved.value, *_moments(moved)), strict=True
    ):
        if tensor is not value:
            tensor.copy_(value)


def _moments(movable: Movable) -> Moments:
    assert isinstance(movable, Matrix | Output)
    assert movable.moments is not None
    return movable.moments
