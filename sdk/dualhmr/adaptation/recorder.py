"""Recording the iterates of an adaptation, and deciding when it stops; without PyTorch."""

import math
from dataclasses import dataclass

from dualhmr.adaptation.schedule import (
    CONVERGED,
    LAST,
    NON_FINITE,
    OUT_OF_STEPS,
    WITHIN_PHASE,
    NonFiniteError,
    PlannedStep,
    Schedule,
)


@dataclass(frozen=True)
class AdaptationResult:
    """How an adaptation went."""

    best_step: int
    """The number of steps after which the result is taken; 0 is the start.

    By the schedule's `iterate` the watched loss was lowest there, or it is the last.
    """
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

    def __init__(self, schedule: Schedule) -> None:
        self.stop_reason = ""
        """Empty while there is no reason."""
        self.finished = False
        """Whether the iterate recorded last is the last one."""
        self._schedule = schedule
        self._history: list[float] = []
        self._outputs: list[object] = []
        self._best_step = 0
        self._previous = math.inf

    def record(
        self, watched: float, output: object, planned: PlannedStep, minimised: float
    ) -> bool:
        """Records an iterate; returns whether it is the result so far.

        The step `planned` begins here, and `minimised` is the sum that it minimises.
        `watched` is NaN for an iterate whose gradient is not finite. Raises NonFiniteError for a
        loss at the start that is not finite: there is no earlier iterate to return.
        """
        if not math.isfinite(watched):
            if not self._history:
                raise NonFiniteError(f"the loss or its gradient is {watched} before the first step")
            self.stop_reason, self.finished = NON_FINITE, True
            return False
        best = not self._history or watched < self._history[self._best_step]
        if best or self._schedule.iterate == LAST:
            self._best_step = len(self._history)
        self._history.append(watched)
        self._outputs.append(output)
        self._compare(planned, watched, minimised)
        return self._best_step == len(self._history) - 1

    def _compare(self, planned: PlannedStep, watched: float, minimised: float) -> None:
        if self.stop_reason:  # the step that met the tolerance has been taken
            self.finished = True
            return
        within_phase = self._schedule.stop_rule == WITHIN_PHASE
        if planned.final and not within_phase:  # no step would follow
            return
        if within_phase and planned.updates == 0:
            # A small change by the last step of one optimiser says nothing about the next one.
            self._previous = math.inf
        compared = watched if within_phase else minimised
        if abs(compared - self._previous) < self._schedule.tolerance:
            self.stop_reason, self.finished = CONVERGED, within_phase
        self._previous = compared

    def result(self) -> AdaptationResult:
        """All that was recorded; without another reason to stop, the steps are used up."""
        return AdaptationResult(
            best_step=self._best_step,
            loss_history=tuple(self._history),
            outputs=tuple(self._outputs),
            stop_reason=self.stop_reason or OUT_OF_STEPS,
        )
