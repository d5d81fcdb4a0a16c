"""`adapt_heads` on a GPU with every step as one CUDA graph, captured once and replayed.

An eager step is hundreds of launches, each of which costs more than its kernel. A captured step is
one launch, and nothing is read back until a block of steps is done. Then the host reads from a log
on the device who has stopped, by the rules of `adapt_heads`; steps after the last person's stop are
dropped. What is computed once per group of persons, before the first step, is a graph too.

It has not run on a GPU yet; tests compare the same loop with `adapt_heads`, on the CPU and on a
pretend device.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.adapt_head import BatchRecorder
from dualhmr.adaptation.fast_head.affine_head import ON_INPUT, AffineHead
from dualhmr.adaptation.fast_head.arithmetic import TorchArithmetic
from dualhmr.adaptation.fast_head.cuda_arithmetic import (
    CudaArithmetic,
    CudaMatrix,
    CudaOutput,
    kernels_fit,
)
from dualhmr.adaptation.fast_head.cuda_graph import (
    MAX_WARM_UPS,
    Replay,
    Work,
    replay_for,
    without_tf32,
)
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.adaptation.fast_head.head_gradients import MatrixGradients
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    AdaptedMatrix,
    DenseMatrix,
    Evaluate,
    Problem,
    adam_step,
    descent_step,
    evaluate_head,
    evaluate_last,
    update_matrices,
)
from dualhmr.adaptation.fast_head.rank_one_output import GridQuadratureInput, RankOneOutput
from dualhmr.adaptation.optimisers import (
    Adam,
    AdamCoefficients,
    GradientDescent,
    Moments,
    Optimiser,
)
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import NonFiniteError, Phase, PlannedStep, Schedule, planned_steps

_BLOCK = 4

Prepare = Callable[[], tuple[Tensor, Evaluate]]
"""The head's input (N, G) and the losses of N persons, from memory that stays where it is.

It is captured: it must not wait for the device. Inputs may be other than finite; then so is the
loss, and the person is rejected.
"""


class CapturedHeads:
    """Adapts a head to N persons at a time, one group of them after the other.

    It keeps the memory and the graphs for the number of persons and the schedule that it was made
    for: matrices and moments of all persons. Not for several threads at once.
    """

    def __init__(
        self,
        head: AffineHead,
        prepare: Prepare,
        schedule: Schedule,
        persons: int,
        *,
        replay: Replay | None = None,
        kernels: CudaKernels | None = None,
        block: int = _BLOCK,
    ) -> None:
        """Captures a graph for every kind of step, which takes some milliseconds each.

        `kernels` are used where they fit the head; None is PyTorch alone. After every `block` steps
        the host reads who has stopped. Raises ValueError for less than one person or step per
        block, and TypeError for an optimiser that cannot be captured.
        """
        if persons < 1 or block < 1:
            raise ValueError(f"{persons} persons, {block} steps a block; expected at least one")
        self._head, self._schedule, self._persons = head, schedule, persons
        self._prepare_persons = prepare
        start, self._arithmetic = head.start, TorchArithmetic()
        if kernels is not None and kernels_fit(start.dtype, head.iterations, len(start)):
            self._arithmetic = CudaArithmetic(kernels)
        self._plan = list(planned_steps(schedule))
        adam = [phase for phase in schedule.phases if isinstance(phase.optimiser, Adam)]
        self._after_adam = adam[1:]
        """The phases before which moments are not zero, but must be."""
        self._blocks = [range(i, i + block) for i in range(0, len(self._plan), block)]
        # A capture's warm-ups write rows too.
        rows = max(len(self._plan), MAX_WARM_UPS + 1)
        self._coefficients = _coefficients(self._plan, rows, start)
        self._log = start.new_zeros(rows, persons, len(start) + 2)
        self._row = torch.zeros(1, dtype=torch.int64, device=start.device)
        """(1,): where the next step writes into the log."""
        self._matrices: AdaptedMatrices = {}
        self._replays = self._capture(replay or replay_for(start.device))

    @property
    def estimates(self) -> Tensor:
        """(S + 1, N, E) on the device: of all iterates of the group that was adapted last.

        Row i is after i steps; rows after a person's last one mean nothing.
        """
        return self._log[: len(self._plan), :, :-2]

    @torch.no_grad()
    def adapt(
        self, *, output: Callable[[Tensor], object] = lambda estimate: estimate
    ) -> tuple[AdaptationResult | NonFiniteError, ...]:
        """The results of `adapt_heads` for the persons that `prepare` now reads.

        `output` maps an estimate (1, E) on the host. A person whose loss is not finite at the
        start gets the error that says so, and the others are not affected.
        """
        recorder = BatchRecorder(self._persons, self._schedule, output)
        self._replay_prepare()
        for block in self._blocks:
            steps = self._plan[block.start : block.stop]
            for step in steps:
                if step.updates == 0 and step.phase in self._after_adam:
                    self._zero_moments()
                self._replays[_kind(step)]()
            # The only wait for the device.
            rows = self._log[block.start : block.start + len(steps)].cpu()
            for step, row in zip(steps, rows, strict=True):
                recorder.record(row[:, -2], row[:, :-2], step, row[:, -1])
                if recorder.all_finished or step.final:
                    return recorder.outcomes()
        raise AssertionError("the plan ends with the final evaluation")

    def _capture(self, replay: Replay) -> dict[Phase | None, Work]:
        replays: dict[Phase | None, Work] = {}
        with torch.no_grad(), without_tf32():
            self._replay_prepare = replay.capture(self._prepare)
            for kind in dict.fromkeys(map(_kind, self._plan)):
                # What warm-ups compute is overwritten before it is read.
                self._replay_prepare()
                work = self._evaluate_last if kind is None else partial(self._step, kind)
                replays[kind] = replay.capture(work)
        return replays

    def _prepare(self) -> None:
        """All that is computed once for a group: what a step reads, and its state before it."""
        head_input, evaluate = self._prepare_persons()
        prepared = GridQuadratureInput(head_input)
        # The nodes need finite inputs.
        finite = GridQuadratureInput(torch.where(torch.isfinite(head_input), head_input, 0.0))
        vars(prepared)["nodes"] = finite.nodes
        self._problem = Problem(self._head, prepared, evaluate, self._schedule, self._arithmetic)
        start = self._problem.start()
        if not self._matrices:
            self._matrices = {name: self._with_memory(each) for name, each in start.items()}
        output = self._matrices[ON_INPUT]
        assert isinstance(output, RankOneOutput)
        self._matrices[ON_INPUT] = replace(output, head_input=prepared)
        for name, matrix in self._matrices.items():
            matrix.value.copy_(start[name].value)
        self._zero_moments()
        self._row.zero_()

    def _zero_moments(self) -> None:
        for matrix in self._matrices.values():
            for moment in matrix.moments or ():
                moment.zero_()

    def _with_memory(self, matrix: AdaptedMatrix) -> AdaptedMatrix:
        """Matrix or output with memory of its own, that stays; moments too."""
        # The strides of `expand` would keep one matrix for all persons.
        value, *moments = (
            matrix.value.clone(memory_format=torch.contiguous_format) for _ in range(3)
        )
        arithmetic = self._arithmetic
        if isinstance(matrix, RankOneOutput):
            parts = (value, matrix.head_input, Moments(*moments))
            if isinstance(arithmetic, CudaArithmetic):
                return CudaOutput(*parts, arithmetic)
            return RankOneOutput(*parts)
        made = CudaMatrix if isinstance(arithmetic, CudaArithmetic) else DenseMatrix
        return made(value, arithmetic, Moments(*moments))

    def _step(self, phase: Phase) -> None:
        evaluation = evaluate_head(self._problem, self._matrices, phase)
        self._write(evaluation.estimate, evaluation.watched_loss, evaluation.minimised_loss)
        updated = self._update(phase.optimiser, evaluation.gradients)
        for name, matrix in self._matrices.items():
            _copy_into(matrix, updated[name])
        self._row.add_(1)

    def _evaluate_last(self) -> None:
        watched, estimate = evaluate_last(self._problem, self._matrices)
        self._write(estimate, watched, watched)

    def _write(self, estimate: Tensor, *losses: Tensor) -> None:
        numbers = torch.cat([estimate, *(loss[:, None] for loss in losses)], dim=1)
        self._log.index_copy_(0, self._row, numbers[None])

    def _update(self, optimiser: Optimiser, gradients: MatrixGradients) -> AdaptedMatrices:
        if not isinstance(optimiser, Adam):
            return self._descend(optimiser, gradients)
        # Indexing with `[]` would wait for the device.
        numbers = self._coefficients.index_select(1, self._row).squeeze(1)
        coefficients = AdamCoefficients(optimiser.beta1, optimiser.beta2, *numbers.unbind())
        return adam_step(self._matrices, gradients, coefficients)

    def _descend(self, optimiser: Optimiser, gradients: MatrixGradients) -> AdaptedMatrices:
        if (
            isinstance(self._arithmetic, CudaArithmetic)
            and self._head.has_hidden_layers
            and isinstance(optimiser, GradientDescent)
            and optimiser.max_norm is not None
        ):
            norm = self._problem.head_input.squared_norm
            rates = self._arithmetic.clipped_rate(gradients, norm, optimiser)
            return descent_step(self._matrices, gradients, rates[:, None, None])
        return update_matrices(self._matrices, gradients, optimiser, updates=1)


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


def _copy_into(kept: AdaptedMatrix, updated: AdaptedMatrix) -> None:
    """Writes an update into the memory that stays, unless it was made in place."""
    pairs = zip(
        (kept.value, *(kept.moments or ())), (updated.value, *(updated.moments or ())), strict=True
    )
    for tensor, value in pairs:
        if tensor is not value:
            tensor.copy_(value)
