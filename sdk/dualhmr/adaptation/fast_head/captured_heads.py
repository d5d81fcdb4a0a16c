"""A schedule as a list of steps, some of them alike, with the numbers in which they differ."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.adapt import Recorder
from dualhmr.adaptation.fast_head.adapt_head import (
    HeadAdaptation,
    Records,
    Taken,
    adaptations,
    arithmetic_for,
)
from dualhmr.adaptation.fast_head.affine_head import DECODE, FIRST, GIVEN, SECOND, AffineHead
from dualhmr.adaptation.fast_head.arithmetic import (
    ActivationGradients,
    Activations,
    AdamCoefficients,
    Arithmetic,
    Gradients,
    Moments,
    gradients_of,
)
from dualhmr.adaptation.fast_head.cuda_graph import (
    MOST_WARM_UPS,
    Replay,
    Work,
    own,
    refill,
    replay_for,
    without_tf32,
)
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    AdaptedMatrix,
    DenseMatrix,
    Evaluate,
    HeadEvaluation,
    HeadInput,
    Problem,
    RankOneOutput,
    evaluate_head,
    evaluate_last,
    move,
)
from dualhmr.adaptation.optimisers import Adam, Optimiser
from dualhmr.adaptation.schedule import Schedule


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
            pace = AdamCoefficients.of(step.kind.optimiser, step.updates)
            numbers[:, row] = torch.tensor([pace.rate, pace.floor], dtype=torch.float64)
    return numbers.to(like)


class Row(NamedTuple):
    """A step's row."""

    watched: Tensor
    """(N,), on the host."""
    estimate: Tensor
    """(N, E)."""
    line: Tensor
    """(N, numbers), all that the row holds."""


class Tape:
    """Rows for N persons, and the index of the next one, on the device like the rows.

    A line holds all that the gradients of a head's matrices are made of, which is little beside the
    matrices: about 2 n (E + 2 H) numbers.
    """

    def __init__(self, head: AffineHead, persons: int, rows: int) -> None:
        estimate, hidden = head.matrices[FIRST].shape
        count = head.iterations
        self._shapes = (
            (count + 1, estimate),
            (1, 1),
            *((count, hidden),) * 2,
            (count, estimate),
            *((count, hidden),) * 2,
        )
        """Estimates, the watched loss, h1 and h2; slopes of estimates, h1 and h2."""
        self._sizes = [a * b for a, b in self._shapes]
        self._last = slice(count * estimate, (count + 1) * estimate + 1)
        """The last estimate and the watched loss, side by side."""
        self._rows = head.start.new_zeros(rows, persons, sum(self._sizes))
        self.index = torch.zeros(1, dtype=torch.int64, device=head.start.device)
        """(1,)."""

    def write(self, seen: HeadEvaluation) -> None:
        """What a look saw, into the row at `index`."""
        gradients, persons = seen.gradients, len(seen.watched)
        parts = (
            gradients[FIRST].left,
            seen.estimate,
            seen.watched,
            gradients[SECOND].right,
            gradients[DECODE].right,
            gradients[DECODE].left,
            gradients[FIRST].right,
            gradients[SECOND].left,
        )
        line = torch.cat([part.reshape(persons, -1) for part in parts], dim=1)
        self._rows.index_copy_(0, self.index, line[None])

    def write_last(self, watched: Tensor, estimate: Tensor) -> None:
        """What the last look saw; the rest of the row is not to be read."""
        line = torch.cat([estimate, watched[:, None]], dim=1)
        self._rows[..., self._last].index_copy_(0, self.index, line[None])

    def read(self, start: int, stop: int) -> list[Row]:
        """Copies of some rows; waits for the device."""
        lines = self._rows[start:stop].clone()
        last = lines[..., self._last]
        on_host = last[..., -1].cpu()
        return [Row(*row) for row in zip(on_host, last[..., :-1], lines, strict=True)]

    def gradients(self, row: Row, given: Tensor) -> Gradients:
        """Those that the step had, where `given` (N, 1, G + 1) is c and a 1."""
        parts = row.line.split(self._sizes, dim=1)
        shaped = [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        rounds = Activations(shaped[0], *shaped[2:4])
        return gradients_of(rounds, ActivationGradients(*shaped[4:]), given)


# Adapting heads with a whole step as one CUDA graph, which is captured once and replayed.
#
# On a GPU an eager step is hundreds of launches, each of which costs more than its kernel.
# Captured, a step is one launch, and nothing is read back until a few of them are done: what they
# saw is on a tape on the device, and who has stopped is found out from there, by the rules of
# `adapt_heads`. What was done in vain after the last one's stop is not kept.
#
# It has not run on a GPU yet; the same loop with an eager stand-in for graphs is held to
# `adapt_heads` by tests.


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
        seen = evaluate_head(self._problem, self._movables, kind.losses)
        self._tape.write(seen)
        moved = self._moved(kind.optimiser, seen.gradients)
        for name, movable in self._movables.items():
            _settle(movable, moved[name])
        self._tape.index.add_(1)

    def _last_look(self) -> None:
        self._tape.write_last(*evaluate_last(self._problem, self._movables))

    def _moved(self, optimiser: Optimiser, gradients: Gradients) -> AdaptedMatrices:
        if not isinstance(optimiser, Adam):
            return move(self._movables, gradients, optimiser, updates=1)
        # Indexing with `[]` would wait for the device.
        rate, floor = self._paces.index_select(1, self._tape.index).squeeze(1).unbind()
        pace = AdamCoefficients(optimiser.beta1, optimiser.beta2, rate, floor)
        return {name: one.adapted(gradients[name], pace) for name, one in self._movables.items()}

    def _own_movables(self) -> AdaptedMatrices:
        """Matrices, and the output for what is given, with moments, in memory that stays."""
        movables: AdaptedMatrices = {}
        for name, movable in self._problem.start().items():
            # Not `own`, as a head's matrix for many persons is one matrix in memory.
            value, first, second = (
                movable.value.clone(memory_format=torch.contiguous_format) for _ in range(3)
            )
            moments = Moments(first, second)
            if name == GIVEN:
                movables[name] = RankOneOutput(value, self._problem.given, moments)
            else:
                movables[name] = DenseMatrix(value, self._arithmetic, moments)
        return movables

    def _fill(self, given: HeadInput, evaluate: Evaluate) -> None:
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


def _prepared(given: Tensor) -> HeadInput:
    """With its nodes, which cannot be captured; where it is not finite, neither is the loss."""
    prepared = HeadInput(given)
    finite = HeadInput(torch.where(torch.isfinite(given), given, 0.0))
    vars(prepared)["nodes"] = finite.nodes
    return prepared


def _settle(mine: AdaptedMatrix, moved: AdaptedMatrix) -> None:
    """Writes what moved into the memory that stays, where it is not there already."""
    for tensor, value in zip(
        (mine.value, *_moments(mine)), (moved.value, *_moments(moved)), strict=True
    ):
        if tensor is not value:
            tensor.copy_(value)


def _moments(movable: AdaptedMatrix) -> Moments:
    assert isinstance(movable, DenseMatrix | RankOneOutput)
    assert movable.moments is not None
    return movable.moments
