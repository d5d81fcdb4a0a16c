"""Adaptation by autograd of other weights than one head for each person.

`recover` adapts the head to one person, by the structured step. Experiments need more: all
parameters of the main network, one set of weights for several people as in the authors' release,
or the heads of two regressors whose estimates are averaged.
"""

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor, nn

from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body
from dualhmr.keypoints import KeypointSet
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr_benchmarks.claims.experiments.own_weights import adapt_people, run_for_each
from dualhmr_training.batches import in_parts
from dualhmr_training.evaluation.batch_fitter import AdaptationInputs, BatchFitter
from dualhmr_training.evaluation.groups import EvaluationBatch
from dualhmr_training.training_folder import Networks

HEAD, ALL, TWO_HEADS = "head", "all", "two_heads"
_MAPPED = 32
"""People with weights of their own who are adapted at a time."""


class AveragedRegressors(nn.Module):
    """Two regressors as one: it averages poses in 6D, betas and cameras."""

    def __init__(self, first: MeshRegressor, second: MeshRegressor) -> None:
        super().__init__()
        self.regressors = nn.ModuleList([first, second])

    def forward(self, inputs: dict[str, Tensor]) -> HeadOutput:
        """As `MeshRegressor`."""
        outputs = [regressor(inputs) for regressor in self.regressors]
        return HeadOutput(*(torch.stack(parts).mean(0) for parts in zip(*outputs, strict=True)))


class SharedWeights(BatchFitter):
    """Adapts any weights; people of a set share them and minimise their mean loss."""

    def __init__(
        self,
        networks: Networks,
        body: Body,
        keypoint_set: KeypointSet,
        *,
        scope: str,
        people_at_once: int,
    ) -> None:
        """`scope` is `HEAD`, `ALL` or `TWO_HEADS`; sets have `people_at_once` people.

        Raises ValueError for another scope, or `TWO_HEADS` without an auxiliary network, or as
        `BatchFitter`.
        """
        if scope not in (HEAD, ALL, TWO_HEADS):
            raise ValueError(f"scope is {scope!r}, expected {HEAD}, {ALL} or {TWO_HEADS}")
        super().__init__(networks, body, keypoint_set, weights=networks.facts.weights)
        self._people_at_once = people_at_once
        self._network: nn.Module = networks.main
        if scope == TWO_HEADS:
            if networks.auxiliary is None:
                raise ValueError(f"{networks.source} has no second regressor to average with")
            self._network = AveragedRegressors(networks.main, networks.auxiliary)
        self._parameters: Parameters = {
            name: parameter.detach()
            for name, parameter in self._network.named_parameters()
            if scope == ALL or "head" in name.split(".")
        }

    def adapt(
        self, batch: EvaluationBatch, schedules: Sequence[Schedule]
    ) -> list[tuple[AdaptationResult, ...]]:
        """As `BatchFitter`; people of a set have the same losses and stop together."""
        inputs, alone = self.adaptation_inputs(batch), self._people_at_once == 1
        adapt_part = self._adapt_each if alone else self._adapt_set
        parts = list(in_parts(inputs, _MAPPED if alone else self._people_at_once))
        return [
            tuple(result for people in parts for result in adapt_part(people, schedule))
            for schedule in schedules
        ]

    def _adapt_each(
        self, people: AdaptationInputs, schedule: Schedule
    ) -> Sequence[AdaptationResult]:
        def losses(
            parameters: Parameters, names: Collection[str] | None
        ) -> tuple[dict[str, Tensor], HeadOutput]:
            output = run_for_each(self._network, parameters, people.inputs)
            return self.objective.losses(output, people.evidence, names), output

        count = len(people.evidence.confidence)
        return adapt_people(self._parameters, losses, schedule, people=count)

    def _adapt_set(
        self, people: AdaptationInputs, schedule: Schedule
    ) -> Iterable[AdaptationResult]:
        def losses(
            parameters: Parameters, names: Collection[str] | None
        ) -> tuple[dict[str, Tensor], HeadOutput]:
            output: HeadOutput = torch.func.functional_call(
                self._network, parameters, (people.inputs,)
            )
            values = self.objective.losses(output, people.evidence, names)
            return {name: value.mean() for name, value in values.items()}, output

        shared = adapt(self._parameters, losses, schedule)
        outputs = [output for output in shared.outputs if isinstance(output, HeadOutput)]
        for person in range(len(people.evidence.confidence)):
            own = slice(person, person + 1)
            # Without the adapted parameters of `shared`, which would stay in memory.
            yield AdaptationResult(
                shared.best_step,
                shared.loss_history,
                tuple(HeadOutput(*(part[own] for part in each)) for each in outputs),
                shared.stop_reason,
            )
