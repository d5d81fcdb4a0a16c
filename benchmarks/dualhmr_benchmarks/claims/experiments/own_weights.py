"""`adapt` for several people at once, each with weights of their own: steps mapped over people.

The results are those of `adapt` person by person, in a third of the time for small networks.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Optimiser, OptimiserState, Parameters
from dualhmr.adaptation.recorder import AdaptationResult, Recorder
from dualhmr.adaptation.schedule import Phase, PlannedStep, Schedule, planned_steps
from dualhmr.adaptation.step import Losses, StepResult, adaptation_step, sum_losses
from dualhmr.networks import HeadOutput

LossesOfPeople = Callable[[Parameters, Collection[str] | None], tuple[Losses, HeadOutput]]
"""Parameters (N, ...) of N people, and names of losses -> losses (N,), and outputs of N people."""


@torch.no_grad()
def adapt_people(
    parameters: Parameters, losses: LossesOfPeople, schedule: Schedule, *, people: int
) -> list[AdaptationResult]:
    """Everybody's result, from the same `parameters`; raises as `adapt`."""
    parameters = {name: each.expand(people, *each.shape) for name, each in parameters.items()}
    recorders = [Recorder(schedule) for _ in range(people)]
    state: OptimiserState | None = None
    for planned in planned_steps(schedule):
        optimiser = _ForEach(planned.phase.optimiser)
        if planned.updates == 0 or state is None:
            state = optimiser.start(parameters)
        step = adaptation_step(
            parameters,
            _summed(losses),
            optimiser,
            state,
            losses=planned.phase.losses,
            scale=planned.phase.scale,
            also=schedule.watched.losses,
        )
        _record(recorders, step, planned, schedule.watched)
        if planned.final or all(recorder.finished for recorder in recorders):
            break
        parameters, state = step.parameters, step.state
    return [recorder.result() for recorder in recorders]


def _summed(
    losses: LossesOfPeople,
) -> Callable[[Parameters, Collection[str] | None], tuple[Losses, tuple[HeadOutput, Losses]]]:
    """Losses that `adaptation_step` can descend: a sum has everybody's own gradient."""

    def of_all(
        parameters: Parameters, names: Collection[str] | None
    ) -> tuple[Losses, tuple[HeadOutput, Losses]]:
        values, output = losses(parameters, names)
        return {name: value.sum() for name, value in values.items()}, (output, values)

    return of_all


def _record(
    recorders: Sequence[Recorder], step: StepResult, planned: PlannedStep, watched: Phase
) -> None:
    output, values = cast(tuple[HeadOutput, Losses], step.output)
    loss = sum_losses(values, watched.losses, watched.scale)
    sums = [gradient.flatten(1).sum(1) for gradient in step.gradients.values()]
    finite = torch.stack(sums).isfinite().all(0)
    if not planned.final:  # no step follows, whatever the gradient is
        loss = loss.where(finite, torch.nan)
    minimised = sum_losses(values, planned.phase.losses, planned.phase.scale)
    for person, recorder in enumerate(recorders):
        if not recorder.finished:
            own = HeadOutput(*(part[person : person + 1].detach() for part in output))
            recorder.record(loss[person].item(), own, planned, minimised[person].item())


@dataclass(frozen=True)
class _ForEach:
    """An optimiser of people's own weights: tensors have an axis of people in front."""

    one: Optimiser

    @property
    def learning_rate(self) -> float:
        """The step size."""
        return self.one.learning_rate

    def start(self, parameters: Parameters) -> OptimiserState:
        """The state before the first update."""
        return self.one.start(parameters)

    def update(
        self, parameters: Parameters, gradients: Parameters, state: OptimiserState
    ) -> tuple[Parameters, OptimiserState]:
        """The parameters and the state after one update."""

        def of_one(
            own: Parameters, gradient: Parameters, moments: tuple[Parameters, Parameters]
        ) -> tuple[Parameters, tuple[Parameters, Parameters]]:
            updated, after = self.one.update(own, gradient, OptimiserState(state.updates, *moments))
            return updated, (after.first, after.second)

        updated, moments = torch.func.vmap(of_one)(
            parameters, gradients, (state.first, state.second)
        )
        return updated, OptimiserState(state.updates + 1, *moments)


def run_for_each(
    network: torch.nn.Module, parameters: Parameters, inputs: dict[str, Tensor]
) -> HeadOutput:
    """The outputs of N people by N sets of parameters of one network."""

    def of_one(own: Parameters, own_inputs: dict[str, Tensor]) -> HeadOutput:
        of_one = {name: tensor[None] for name, tensor in own_inputs.items()}
        output: HeadOutput = torch.func.functional_call(network, own, (of_one,))
        return HeadOutput(*(part[0] for part in output))

    outputs: HeadOutput = torch.func.vmap(of_one)(parameters, inputs)
    return outputs
