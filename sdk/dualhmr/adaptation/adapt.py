"""Adapting the parameters of one network to one person."""

import math
from dataclasses import dataclass

import torch

from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.schedule import Schedule
from dualhmr.adaptation.step import LossFunction, adaptation_step, sum_losses

CONVERGED, OUT_OF_STEPS, NON_FINITE = "converged", "max_steps", "non_finite"


@dataclass(frozen=True)
class Adaptation:
    """How an adaptation went."""

    parameters: Parameters
    """Those of the best iterate."""
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


@torch.no_grad()
def adapt(parameters: Parameters, loss_function: LossFunction, schedule: Schedule) -> Adaptation:
    """Runs `schedule` from `parameters`; the best iterate is returned, so it is never worse.

    `loss_function` returns scalar losses by name. Adaptation ends when two consecutive watched
    losses within a phase differ by less than the schedule's tolerance, when the steps are used up,
    or as soon as a loss or gradient is not finite: then what came before it stands. Raises
    ValueError when the loss at the start is already not finite: there is nothing to fall back on.
    """
    run = _Run(schedule)
    for phase in schedule.phases:
        run.enter_phase()
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
            if not _all_finite(step.gradients):
                watched = math.nan
            run.record(parameters, watched, step.output)
            if run.stop_reason:
                return run.result()
            parameters, state = step.parameters, step.state
    losses, output = loss_function(parameters, schedule.watched_losses)
    run.record(parameters, float(sum_losses(losses, schedule.watched_losses)), output)
    return run.result()


class _Run:
    """The iterates so far, and whether to go on."""

    def __init__(self, schedule: Schedule) -> None:
        self.tolerance = schedule.tolerance
        self.history: list[float] = []
        self.outputs: list[object] = []
        self.best: Parameters = {}
        self.best_step = 0
        self.stop_reason = ""
        self._previous = math.inf

    def enter_phase(self) -> None:
        # How little the last step of one optimiser did says nothing about the next optimiser.
        self._previous = math.inf

    def record(self, parameters: Parameters, loss: float, output: object) -> None:
        if not math.isfinite(loss):
            if not self.history:
                raise ValueError(f"the loss or its gradient is {loss} before the first step")
            self.stop_reason = NON_FINITE
            return
        if not self.history or loss < self.history[self.best_step]:
            self.best, self.best_step = parameters, len(self.history)
        if abs(loss - self._previous) < self.tolerance:
            self.stop_reason = CONVERGED
        self._previous = loss
        self.history.append(loss)
        self.outputs.append(output)

    def result(self) -> Adaptation:
        return Adaptation(
            parameters=self.best,
            best_step=self.best_step,
            loss_history=tuple(self.history),
            outputs=tuple(self.outputs),
            stop_reason=self.stop_reason or OUT_OF_STEPS,
        )


def _all_finite(gradients: Parameters) -> bool:
    total = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum()
    return bool(torch.isfinite(total))
