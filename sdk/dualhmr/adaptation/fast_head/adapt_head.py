"""`adapt` for a head, by the fast step: for one person, or for N persons at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import AffineHead
from dualhmr.adaptation.fast_head.arithmetic import Arithmetic, arithmetic_for
from dualhmr.adaptation.fast_head.head_gradients import MatrixGradients
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    DenseMatrix,
    Evaluate,
    Problem,
    evaluate_head,
    evaluate_last,
    update_matrices,
)
from dualhmr.adaptation.fast_head.rank_one_output import HeadInput
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.recorder import AdaptationResult, Recorder
from dualhmr.adaptation.schedule import NonFiniteError, PlannedStep, Schedule, planned_steps


@dataclass(frozen=True)
class HeadAdaptation(AdaptationResult):
    """How the adaptation of a head went, and the parameters it found."""

    rebuild: Callable[[], Parameters] = field(repr=False, compare=False)
    """Computes the parameters of the step `best_step`."""

    @cached_property
    def parameters(self) -> Parameters:
        """Those of the step `best_step`, by the head's names of layers; built when first used."""
        return self.rebuild()


def adapt_head(
    head: AffineHead,
    head_input: Tensor,
    evaluate: Evaluate,
    schedule: Schedule,
    *,
    output: Callable[[Tensor], object] = lambda estimate: estimate,
    arithmetic: Arithmetic | None = None,
) -> HeadAdaptation:
    """The result of `adapt` on the head's parameters, for one person.

    `head_input` (1, G) is features, and box info for CLIFF. `output` maps an estimate (1, E) to
    what `AdaptationResult.outputs` keeps of it. `arithmetic` is by default the fastest.
    Raises ValueError where `adapt` does, and for an input that does not fit the head.
    """
    if head_input.shape[0] != 1:
        raise ValueError(
            f"the head's input is {tuple(head_input.shape)}, expected one person: (1, G)"
        )
    (adaptation,) = adapt_heads(
        head, head_input, evaluate, schedule, output=output, arithmetic=arithmetic
    )
    return adaptation


@torch.no_grad()
def adapt_heads(
    head: AffineHead,
    head_input: Tensor,
    evaluate: Evaluate,
    schedule: Schedule,
    *,
    output: Callable[[Tensor], object] = lambda estimate: estimate,
    arithmetic: Arithmetic | None = None,
) -> tuple[HeadAdaptation, ...]:
    """The results of `adapt_head` for N persons with `head_input` (N, G), computed together.

    That pays where one person leaves a device idle; on a CPU, adapt one person after the other.
    All persons take steps until all have finished or the schedule ends; steps after a person's own
    last are dropped. Raises ValueError as `adapt_head`, naming the first person concerned.
    """
    head.check_input(head_input)
    arithmetic = arithmetic or arithmetic_for(head_input)
    problem = Problem(head, HeadInput(head_input), evaluate, schedule, arithmetic)
    recorder = BatchRecorder(len(head_input), schedule, output)
    steps: list[StepGradients] = []
    if len(head_input):
        matrices, steps = _take_steps(problem, recorder)
        for matrix in matrices.values():
            matrix.recycle()
    return recorder.results(head, arithmetic, steps)


class StepGradients(NamedTuple):
    """One step that N persons took."""

    planned: PlannedStep
    gradients: MatrixGradients


def _take_steps(
    problem: Problem, recorder: "BatchRecorder"
) -> tuple[AdaptedMatrices, list[StepGradients]]:
    matrices = problem.start()
    steps: list[StepGradients] = []
    for planned in planned_steps(problem.schedule):
        if planned.final:
            watched, estimate = evaluate_last(problem, matrices)
            recorder.record(watched, estimate, planned, watched)
            break
        evaluation = evaluate_head(problem, matrices, planned.phase)
        recorder.record(
            evaluation.watched_loss, evaluation.estimate, planned, evaluation.minimised_loss
        )
        recorder.raise_error()
        if recorder.all_finished:
            return matrices, steps
        steps.append(StepGradients(planned, evaluation.gradients))
        matrices = update_matrices(
            matrices, evaluation.gradients, planned.phase.optimiser, planned.updates
        )
    return matrices, steps


class BatchRecorder:
    """A recorder for each of N persons; nothing is recorded of a person who has finished."""

    def __init__(
        self, persons: int, schedule: Schedule, output: Callable[[Tensor], object]
    ) -> None:
        self._recorders = [Recorder(schedule) for _ in range(persons)]
        self._errors: dict[int, NonFiniteError] = {}
        self._output = output

    def record(
        self, watched: Tensor, estimate: Tensor, planned: PlannedStep, minimised: Tensor
    ) -> None:
        """An iterate: losses (N,), estimate (N, E), and the step that begins; see `Recorder`."""
        losses = zip(self._recorders, watched.tolist(), minimised.tolist(), strict=True)
        for person, (recorder, loss, compared) in enumerate(losses):
            if recorder.finished or person in self._errors:
                continue
            try:
                output = self._output(estimate[person : person + 1])
                recorder.record(loss, output, planned, compared)
            except NonFiniteError as error:
                self._errors[person] = error

    @property
    def all_finished(self) -> bool:
        """Whether further steps are in vain."""
        return all(
            recorder.finished or person in self._errors
            for person, recorder in enumerate(self._recorders)
        )

    def raise_error(self) -> None:
        """Raises NonFiniteError for the first person who has no result, naming them."""
        for person, error in self._errors.items():
            name = f"person {person}: " if len(self._recorders) > 1 else ""
            raise NonFiniteError(f"{name}{error}") from error

    def outcomes(self) -> tuple[AdaptationResult | NonFiniteError, ...]:
        """The persons' results, or why there is none."""
        return tuple(
            self._errors.get(person) or recorder.result()
            for person, recorder in enumerate(self._recorders)
        )

    def results(
        self, head: AffineHead, arithmetic: Arithmetic, steps: Sequence[StepGradients]
    ) -> tuple[HeadAdaptation, ...]:
        """The persons' results, after they took `steps` from `head`."""
        self.raise_error()
        adaptations = []
        for person, recorder in enumerate(self._recorders):
            result = recorder.result()
            rebuild = partial(_rebuild, head, arithmetic, steps[: result.best_step], person)
            adaptations.append(HeadAdaptation(**vars(result), rebuild=rebuild))
        return tuple(adaptations)


@torch.no_grad()
def _rebuild(
    head: AffineHead, arithmetic: Arithmetic, steps: Sequence[StepGradients], person: int
) -> Parameters:
    """One person's parameters after `steps`.

    Gradients are stored as outer products, so the updates are repeated without evaluating the head.
    Now the matrix that reads the head's input is updated too; `RankOneOutput` stands for it before.
    """
    matrices: AdaptedMatrices = {
        name: DenseMatrix(matrix[None], arithmetic) for name, matrix in head.matrices.items()
    }
    for step in steps:
        own = {name: gradient.of_person(person) for name, gradient in step.gradients.items()}
        matrices = update_matrices(
            matrices, own, step.planned.phase.optimiser, step.planned.updates
        )
    return head.parameters({name: matrix.value[0] for name, matrix in matrices.items()})
