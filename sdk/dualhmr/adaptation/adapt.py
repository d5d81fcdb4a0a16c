"""`adapt`: runs a schedule of steps, stops early, and returns the best or last iterate."""

import math
from dataclasses import dataclass

import torch

from dualhmr.adaptation.optimisers import OptimiserState, Parameters
from dualhmr.adaptation.recorder import AdaptationResult, Recorder
from dualhmr.adaptation.schedule import Schedule, planned_steps
from dualhmr.adaptation.step import LossFunction, adaptation_step, all_finite, sum_losses


@dataclass(frozen=True)
class Adaptation(AdaptationResult):
    """How an adaptation went, and the parameters it found."""

    parameters: Parameters
    """Those of the step `best_step`."""


@torch.no_grad()
def adapt(
    parameters: Parameters,
    loss_function: LossFunction,
    schedule: Schedule,
    *,
    head_prefix: str = "",
) -> Adaptation:
    """Runs `schedule` from `parameters`; see there when it ends and which iterate is the result.

    `loss_function` returns scalar losses by name. As soon as a loss or gradient is not finite, the
    adaptation ends too, and the iterates before it count. Names of the head's parameters begin with
    `head_prefix`. Raises NonFiniteError when the loss or gradient at the start is already not
    finite.
    """
    recorder = Recorder(schedule)
    best = parameters
    state: OptimiserState | None = None
    watched = schedule.watched
    for planned in planned_steps(schedule):
        if planned.final or recorder.stop_reason:
            break
        phase = planned.phase
        adapted = _named(parameters, head_prefix if phase.head_only else "")
        if planned.updates == 0 or state is None:
            state = phase.optimiser.start(adapted)
        step = adaptation_step(
            adapted,
            _with_others(loss_function, parameters),
            phase.optimiser,
            state,
            losses=phase.losses,
            scale=phase.scale,
            also=watched.losses,
        )
        loss = float(sum_losses(step.losses, watched.losses, watched.scale))
        if not bool(all_finite(step.gradients)):
            loss = math.nan
        minimised = float(sum_losses(step.losses, phase.losses, phase.scale))
        if recorder.record(loss, step.output, planned, minimised):
            best = parameters
        if recorder.finished:
            return Adaptation(**vars(recorder.result()), parameters=best)
        parameters, state = parameters | step.parameters, step.state
    losses, output = loss_function(parameters, watched.losses)
    loss = float(sum_losses(losses, watched.losses, watched.scale))
    if recorder.record(loss, output, planned, loss):
        best = parameters
    return Adaptation(**vars(recorder.result()), parameters=best)


def _named(parameters: Parameters, prefix: str) -> Parameters:
    return {name: value for name, value in parameters.items() if name.startswith(prefix)}


def _with_others(loss_function: LossFunction, parameters: Parameters) -> LossFunction:
    """`loss_function` of some of the parameters, with the others as they are."""
    return lambda some, names: loss_function({**parameters, **some}, names)
