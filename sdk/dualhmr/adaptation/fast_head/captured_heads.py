"""`adapt_heads` on a GPU with every step as one CUDA graph, captured once and replayed.

An eager step is hundreds of launches, each of which costs more than its kernel. A captured step is
one launch, and nothing is read back until a block of steps is done. Then the host reads from a
`StepLog` on the device who has stopped, by the rules of `adapt_heads`; steps after the last
person's stop are dropped.

It has not run on a GPU yet; tests compare the same loop, with an eager stand-in for graphs, with
`adapt_heads`.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.adapt_head import (
    BatchRecorder,
    HeadAdaptation,
    StepGradients,
)
from dualhmr.adaptation.fast_head.affine_head import ON_INPUT, AffineHead
from dualhmr.adaptation.fast_head.arithmetic import Arithmetic
from dualhmr.adaptation.fast_head.choose_arithmetic import arithmetic_for
from dualhmr.adaptation.fast_head.cuda_graph import (
    MAX_WARM_UPS,
    Replay,
    Work,
    replay_for,
    without_tf32,
)
from dualhmr.adaptation.fast_head.head_gradients import MatrixGradients
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    AdaptedMatrix,
    DenseMatrix,
    Evaluate,
    Problem,
    adam_step,
    evaluate_head,
    evaluate_last,
    update_matrices,
)
from dualhmr.adaptation.fast_head.rank_one_output import HeadInput, RankOneOutput
from dualhmr.adaptation.fast_head.step_log import StepLog
from dualhmr.adaptation.fast_head.tensor_tree import clone_tensors, copy_tensors_into
from dualhmr.adaptation.optimisers import Adam, AdamCoefficients, Moments, Optimiser
from dualhmr.adaptation.schedule import Phase, PlannedStep, Schedule, planned_steps

_BLOCK = 4


class CapturedHeads:
    """Adapts a head to N persons at a time, one group of them after the other.

    It keeps the memory and the graphs for the number of persons and the schedule that it was made
    for: matrices and moments of all persons, and copies of all tensors that `evaluate` holds, which
    every call overwrites with those of its group. Not for several threads at once.
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

        `evaluate` is that of any such persons. `shared` lists what is the same for all persons and
        need not be copied, such as the objective. After every `block` steps the host reads who has
        stopped. Raises ValueError for less than one person or step per block, and TypeError for an
        optimiser or `evaluate` that cannot be captured.
        """
        if persons < 1 or block < 1:
            raise ValueError(f"{persons} persons, {block} steps a block; expected at least one")
        self._head, self._schedule, self._persons = head, schedule, persons
        self._arithmetic = arithmetic or arithmetic_for(head.start)
        self._plan = list(planned_steps(schedule))
        self._blocks = [range(i, i + block) for i in range(0, len(self._plan), block)]
        # A capture's warm-ups write rows too.
        rows = max(len(self._plan), MAX_WARM_UPS + 1)
        self._log = StepLog(head, persons, rows)
        self._coefficients = _coefficients(self._plan, rows, head.start)
        self._problem = Problem(
            head,
            clone_tensors(_prepare_input(head.start.new_zeros(persons, head.input_count))),
            clone_tensors(evaluate, shared),
            schedule,
            self._arithmetic,
        )
        self._matrices = self._allocate_matrices()
        self._replays = self._capture(replay or replay_for(head.start.device))

    @torch.no_grad()
    def adapt(
        self,
        head_input: Tensor,
        evaluate: Evaluate,
        *,
        output: Callable[[Tensor], object] = lambda estimate: estimate,
    ) -> tuple[HeadAdaptation, ...]:
        """The results of `adapt_heads` for the persons of `head_input` (N, G) and `evaluate`.

        Raises ValueError as that does, for another number of persons, and for an `evaluate` whose
        structure is not that of the captured one.
        """
        self._head.check_input(head_input)
        if len(head_input) != self._persons:
            raise ValueError(
                f"the head's input is of {len(head_input)} persons, captured for {self._persons}"
            )
        with without_tf32():
            prepared = _prepare_input(head_input)
            self._fill(prepared, evaluate)
        recorder = BatchRecorder(self._persons, self._schedule, output)
        steps = self._take_steps(prepared.values, recorder)
        return recorder.results(self._head, self._arithmetic, steps)

    def _take_steps(self, head_input: Tensor, recorder: BatchRecorder) -> list[StepGradients]:
        taken: list[StepGradients] = []
        for block in self._blocks:
            steps = self._plan[block.start : block.stop]
            for step in steps:
                if step.updates == 0 and isinstance(step.phase.optimiser, Adam):
                    self._zero_moments()
                self._replays[_kind(step)]()
            logged = self._log.read(block.start, block.start + len(steps))
            for step, row in zip(steps, logged, strict=True):
                recorder.record(row.watched_loss, row.estimate, step, row.minimised_loss)
                if recorder.all_finished or step.final:
                    return taken
                taken.append(StepGradients(step, self._log.gradients(row, head_input)))
        raise AssertionError("the plan ends with the final evaluation")

    def _capture(self, replay: Replay) -> dict[Phase | None, Work]:
        replays: dict[Phase | None, Work] = {}
        for kind in dict.fromkeys(map(_kind, self._plan)):
            # What warm-ups compute from zeros is overwritten before it is read.
            self._log.index.zero_()
            work = self._evaluate_last if kind is None else partial(self._step, kind)
            with torch.no_grad(), without_tf32():
                replays[kind] = replay.capture(work)
        return replays

    def _step(self, phase: Phase) -> None:
        evaluation = evaluate_head(self._problem, self._matrices, phase)
        self._log.write(evaluation)
        updated = self._update(phase.optimiser, evaluation.gradients)
        for name, matrix in self._matrices.items():
            _copy_into(matrix, updated[name])
        self._log.index.add_(1)

    def _evaluate_last(self) -> None:
        self._log.write_last(*evaluate_last(self._problem, self._matrices))

    def _update(self, optimiser: Optimiser, gradients: MatrixGradients) -> AdaptedMatrices:
        if not isinstance(optimiser, Adam):
            return update_matrices(self._matrices, gradients, optimiser, updates=1)
        # Indexing with `[]` would wait for the device.
        numbers = self._coefficients.index_select(1, self._log.index).squeeze(1)
        coefficients = AdamCoefficients(optimiser.beta1, optimiser.beta2, *numbers.unbind())
        return adam_step(self._matrices, gradients, coefficients)

    def _allocate_matrices(self) -> AdaptedMatrices:
        """Matrices, and the output for the head's input, with moments, in memory that stays."""
        matrices: AdaptedMatrices = {}
        for name, matrix in self._problem.start().items():
            # Not `clone_tensors`: the strides of `expand` would keep one matrix for all persons.
            value, first, second = (
                matrix.value.clone(memory_format=torch.contiguous_format) for _ in range(3)
            )
            moments = Moments(first, second)
            if name == ON_INPUT:
                matrices[name] = RankOneOutput(value, self._problem.head_input, moments)
            else:
                matrices[name] = DenseMatrix(value, self._arithmetic, moments)
        return matrices

    def _fill(self, head_input: HeadInput, evaluate: Evaluate) -> None:
        """Copies the persons' evidence and the head's own matrices into the captured memory."""
        copy_tensors_into(self._problem.head_input, head_input)
        copy_tensors_into(self._problem.evaluate, evaluate)
        for name, matrix in self._problem.start().items():
            self._matrices[name].value.copy_(matrix.value)
        self._log.index.zero_()

    def _zero_moments(self) -> None:
        for matrix in self._matrices.values():
            for moment in matrix.moments or ():
                moment.zero_()


def _kind(step: PlannedStep) -> Phase | None:
    """Steps of a kind share a graph; None is the final evaluation."""
    if step.final:
        return None
    losses = step.phase.losses
    return replace(step.phase, steps=0, losses=None if losses is None else tuple(losses))


def _coefficients(plan: list[PlannedStep], rows: int, like: Tensor) -> Tensor:
    """Adam's rate and epsilon at all steps, (2, rows); zero where the optimiser is not Adam."""
    numbers = torch.zeros(2, rows, dtype=torch.float64)
    for row, step in enumerate(plan):
        if not step.final and isinstance(step.phase.optimiser, Adam):
            coefficients = step.phase.optimiser.coefficients(step.updates)
            numbers[:, row] = torch.tensor(
                [coefficients.rate, coefficients.epsilon], dtype=torch.float64
            )
    return numbers.to(like)


def _prepare_input(head_input: Tensor) -> HeadInput:
    """With its nodes, whose computation cannot be captured.

    The nodes need finite inputs; where an input is not finite, neither is the loss, and the person
    is rejected anyway.
    """
    prepared = HeadInput(head_input)
    finite = HeadInput(torch.where(torch.isfinite(head_input), head_input, 0.0))
    vars(prepared)["nodes"] = finite.nodes
    return prepared


def _copy_into(kept: AdaptedMatrix, updated: AdaptedMatrix) -> None:
    """Writes an update into the memory that stays, unless it was made in place."""
    pairs = zip(
        (kept.value, *(kept.moments or ())), (updated.value, *(updated.moments or ())), strict=True
    )
    for tensor, value in pairs:
        if tensor is not value:
            tensor.copy_(value)
