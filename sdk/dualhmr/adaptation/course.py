"""How an adaptation goes: the losses so far, which iterate is best, and whether to go on."""

import math
from dataclasses import dataclass

from dualhmr.schedules import CONVERGED, NON_FINITE, OUT_OF_STEPS


@dataclass(frozen=True)
class Course:
    """How an adaptation went."""

    best_step: int
    """The number of steps after which the watched loss was lowest; 0 is the start."""
    loss_history: tuple[float, ...]
    """The watched loss at the start and after every step."""
    outputs: tuple[object, ...]
    """What the loss function put out at the start and after every step."""
    stop_reason: str
    """`converged`, `max_steps` or `non_finite`."""

    @property
    def steps(self) -> int:
        """The number of steps taken that have finite losses."""
        return len(self.loss_history) - 1


class Recorder:
    """Takes down one iterate after the other, and stops where `adapt` says that it does."""

    def __init__(self, tolerance: float) -> None:
        self.stop_reason = ""
        """Empty while there is no reason to stop."""
        self._tolerance = tolerance
        self._history: list[float] = []
        self._outputs: list[object] = []
        self._best_step = 0
        self._previous = math.inf

    def enter_phase(self) -> None:
        """Says that another optimiser begins."""
        # How little the last step of one optimiser did says nothing about the next optimiser.
        self._previous = math.inf

    def record(self, loss: float, output: object) -> bool:
        """Takes down an iterate, unless its loss is not finite; whether it is the best one yet.

        A gradient that is not finite counts as a loss that is not. ValueError where that is so at
        the start: there is nothing to fall back on.
        """
        if not math.isfinite(loss):
            if not self._history:
                raise ValueError(f"the loss or its gradient is {loss} before the first step")
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

    def course(self) -> Course:
        """All that was taken down; without a reason to stop, the steps are used up."""
        return Course(
            best_step=self._best_step,
            loss_history=tuple(self._history),
            outputs=tuple(self._outputs),
            stop_reason=self.stop_reason or OUT_OF_STEPS,
        )
