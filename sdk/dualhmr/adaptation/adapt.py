"""Adapting the parameters of one network to one person."""

import math
from dataclasses import dataclass

import torch

from dualhmr.adaptation.course import Course, Recorder
from dualhmr.adaptation.step import LossFunction, adaptation_step, all_finite, sum_losses
from dualhmr.schedules.optimisers import Parameters
from dualhmr.schedules.schedule import Schedule


@dataclass(frozen=True)
class Adaptation(Course):
    """How an adaptation went, and what came of it."""

    parameters: Parameters
    """Those of the best iterate."""


@torch.no_grad()
def adapt(parameters: Parameters, loss_function: LossFunction, schedule: Schedule) -> Adaptation:
    """Runs `schedule` from `parameters`; the best iterate is returned, so it is never worse.

    `loss_function` returns scalar losses by name. Adaptation ends when two consecutive watched
    losses within a phase differ by less than the schedule's tolerance, when the steps are used up,
    or as soon as a loss or gradient is not finite: then what came before it stands. Raises
    ValueError when the loss at the start is already not finite: there is nothing to fall back on.
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
                return _adaptation(recorder, best)
            parameters, state = step.parameters, step.state
    losses, output = loss_function(parameters, schedule.watched_losses)
    if recorder.record(float(sum_losses(losses, schedule.watched_losses)), output):
        best = parameters
    return _adaptation(recorder, best)


def _adaptation(recorder: Recorder, best: Parameters) -> Adaptation:
    return Adaptation(**vars(recorder.course()), parameters=best)
