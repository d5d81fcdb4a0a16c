"""Which arithmetic is the fastest where a tensor is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult, Recorder
from dualhmr.adaptation.fast_head.affine_head import AffineHead
from dualhmr.adaptation.fast_head.arithmetic import Arithmetic, Gradients, TorchArithmetic
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    DenseMatrix,
    Evaluate,
    HeadInput,
    Problem,
    evaluate_head,
    evaluate_last,
    move,
)
from dualhmr.adaptation.optimisers import Optimiser, Parameters
from dualhmr.adaptation.schedule import Schedule


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """For float32 and float64 compiled loops on a CPU, a kernel on a GPU; PyTorch otherwise."""
    # Imported only where they are used: numba and CuPy take a while to load.
    if tensor.dtype not in (torch.float32, torch.float64):
        return TorchArithmetic()
    if tensor.device.type == "cpu":
        from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic

        return CompiledArithmetic()
    if tensor.device.type == "cuda":
        from dualhmr.adaptation.fast_head.cuda_arithmetic import cuda_arithmetic

        return cuda_arithmetic()
    return TorchArithmetic()


class Taken(NamedTuple):
    """A step that was taken, for N persons."""

    optimiser: Optimiser
    updates: int
    """How many the optimiser had made in this phase before."""
    gradients: Gradients


@torch.no_grad()
def rebuild(
    head: AffineHead, arithmetic: Arithmetic, taken: Sequence[Taken], person: int
) -> Parameters:
    """One person's after the steps `taken`.

    Gradients are kept as the vectors that they are outer products of, so that this takes nothing
    but the steps again; now with a matrix for what is given too, which `adapt_head` does without.
    """
    movables: AdaptedMatrices = {
        name: DenseMatrix(matrix[None], arithmetic) for name, matrix in head.matrices.items()
    }
    for step in taken:
        own = {name: gradient.of_person(person) for name, gradient in step.gradients.items()}
        movables = move(movables, own, step.optimiser, step.updates)
    return head.parameters({name: one.value[0] for name, one in movables.items()})


class Records:
    """A recorder for each of N persons; nothing more is taken down of those who have stopped."""

    def __init__(self, recorders: list[Recorder], output: Callable[[Tensor], object]) -> None:
        self._recorders = recorders
        self._output = output

    def enter_phase(self) -> None:
        """Says that another optimiser begins."""
        for recorder in self._recorders:
            recorder.enter_phase()

    def record(self, watched: Tensor, estimate: Tensor) -> None:
        """The watched loss (N,) and the estimate (N, E), for those who have not stopped."""
        for person, loss in enumerate(watched.tolist()):
            recorder = self._recorders[person]
            if recorder.stop_reason:
                continue
            try:
                recorder.record(loss, self._output(estimate[person : person + 1]))
            except ValueError as error:
                if len(self._recorders) == 1:
                    raise
                raise ValueError(f"person {person}: {error}") from error

    @property
    def all_stopped(self) -> bool:
        """Whether there is nobody to go on for."""
        return all(recorder.stop_reason for recorder in self._recorders)


@dataclass(frozen=True)
class HeadAdaptation(AdaptationResult):
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
    problem = Problem(head, HeadInput(given), evaluate, schedule.watched_losses, arithmetic)
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
) -> tuple[AdaptedMatrices, list[Taken]]:
    movables = problem.start()
    taken: list[Taken] = []
    for phase in schedule.phases:
        records.enter_phase()
        for updates in range(phase.steps):
            seen = evaluate_head(problem, movables, phase.losses)
            records.record(seen.watched, seen.estimate)
            if records.all_stopped:
                return movables, taken
            taken.append(Taken(phase.optimiser, updates, seen.gradients))
            movables = move(movables, seen.gradients, phase.optimiser, updates)
    records.record(*evaluate_last(problem, movables))
    return movables, taken
