"""`adapt`: runs a schedule of steps, stops early, and returns the best iterate."""

import math
from dataclasses import dataclass

import torch

from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    OUT_OF_STEPS,
    NonFiniteError,
    Schedule,
)
from dualhmr.adaptation.step import LossFunction, adaptation_step, all_finite, sum_losses


@dataclass(frozen=True)
class AdaptationResult:
    """How an adaptation went."""

    best_step: int
    """The number of steps after which the watched loss was lowest; 0 is the start."""
    loss_history: tuple[float, ...]
    """The watched loss at the start and after every step."""
    outputs: tuple[object, ...]
    """The loss function's output at the start and after every step."""
    stop_reason: str
    """`converged`, `max_steps` or `non_finite`."""

    @property
    def steps(self) -> int:
        """The number of steps taken that have finite losses."""
        return len(self.loss_history) - 1


class Recorder:
    """Records the iterates of one adaptation, and decides when it stops."""

    def __init__(self, tolerance: float) -> None:
        self.stop_reason = ""
        """Empty while the adaptation goes on."""
        self._tolerance = tolerance
        self._history: list[float] = []
        self._outputs: list[object] = []
        self._best_step = 0
        self._previous = math.inf

    def enter_phase(self) -> None:
        """A phase with another optimiser begins."""
        # A small change by the last step of one optimiser says nothing about the next optimiser.
        self._previous = math.inf

    def record(self, loss: float, output: object) -> bool:
        """Records an iterate with a finite loss; returns whether it is the best one so far.

        `loss` is NaN for an iterate whose gradient is not finite. Raises ValueError for a loss at
        the start that is not finite: there is no earlier iterate to return.
        """
        if not math.isfinite(loss):
            if not self._history:
                raise NonFiniteError(f"the loss or its gradient is {loss} before the first step")
            self.stop_reason = NON_FINITE
            return False
        best = not self._history or loss < self._history[self._best_step]
        if best:
            self._best_step = len(self._history)
        if abs(loss - self._previous) < self._tolerance:
            self.stop_reason = CONVERGED
        self._previous = loss
        self._history.append(loss)
        self._outputs.append(output)
        return best

    def result(self) -> AdaptationResult:
        """All that was recorded; without another reason to stop, the steps are used up."""
        return AdaptationResult(
            best_step=self._best_step,
            loss_history=tuple(self._history),
            outputs=tuple(self._outputs),
            stop_reason=self.stop_reason or OUT_OF_STEPS,
        )


@dataclass(frozen=True)
class Adaptation(AdaptationResult):
    """How an adaptation went, and the parameters it found."""

    parameters: Parameters
    """Those of the best iterate."""


@torch.no_grad()
def adapt(parameters: Parameters, loss_function: LossFunction, schedule: Schedule) -> Adaptation:
    """Runs `schedule` from `parameters`; the best iterate is returned, so it is never worse.

    `loss_function` returns scalar losses by name. Adaptation ends when two consecutive watched
    losses within a phase differ by less than the schedule's tolerance, when the steps are used up,
    or as soon as a loss or gradient is not finite: then the iterates before it count. Raises
    ValueError when the loss or gradient at the start is already not finite.
    """
    recorder = Recorder(schedule.tolerance)
    best = parameters
    for phase in schedule.phases:
        recorder.enter_phase()
        state = phase.optimiser.start(parameters)
        for _ in range(phase.steps):
            step = adaptation_step(
                parameters,
                loss_function,
                phase.optimiser,
                state,
                losses=phase.losses,
                also=schedule.watched_losses,
            )
            watched = float(sum_losses(step.losses, schedule.watched_losses))
            if not bool(all_finite(step.gradients)):
                watched = math.nan
            if recorder.record(watched, step.output):
                best = parameters
            if recorder.stop_reason:
                return Adaptation(**vars(recorder.result()), parameters=best)
            parameters, state = step.parameters, step.state
    losses, output = loss_function(parameters, schedule.watched_losses)
    if recorder.record(float(sum_losses(losses, schedule.watched_losses)), output):
        best = parameters
    return Adaptation(**vars(recorder.result()), parameters=best)
