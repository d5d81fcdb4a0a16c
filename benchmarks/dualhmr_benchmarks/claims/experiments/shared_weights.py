"""Adapting other weights than each person's own head, by autograd.

The head of one person is what `recover` adapts, by the structured step. Experiments ask for more:
all parameters of the main network, one set of weights for several people as in the authors'
release, or the heads of two regressors whose estimates are averaged.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from dualhmr.adaptation.adapt import AdaptationResult, adapt
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body
from dualhmr.keypoints import KeypointSet
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr_training.batches import in_parts
from dualhmr_training.evaluation.batch_fitter import AdaptationInputs, BatchFitter
from dualhmr_training.evaluation.groups import EvaluationBatch
from dualhmr_training.training_folder import Networks

HEAD, ALL, TWO_HEADS = "head", "all", "two_heads"


class AveragedRegressors(nn.Module):
    """Two regressors as one: poses in 6D, betas and cameras are averaged."""

    def __init__(self, first: MeshRegressor, second: MeshRegressor) -> None:
        super().__init__()
        self.regressors = nn.ModuleList([first, second])

    def forward(self, inputs: dict[str, Tensor]) -> HeadOutput:
        """As `MeshRegressor`."""
        outputs = [regressor(inputs) for regressor in self.regressors]
        return HeadOutput(*(torch.stack(parts).mean(0) for parts in zip(*outputs, strict=True)))


class SharedWeights(BatchFitter):
    """Adapts any weights; the people of a set share them, and its mean loss counts."""

    def __init__(
        self, networks: Networks, body: Body, given: KeypointSet, *, moves: str, at_once: int
    ) -> None:
        """`moves` is `HEAD`, `ALL` or `TWO_HEADS`, `at_once` the number of people in a set.

        Raises ValueError for other words, where two regressors are wanted and there is one, or as
        `BatchFitter`.
        """
        if moves not in (HEAD, ALL, TWO_HEADS):
            raise ValueError(f"moves is {moves!r}, expected {HEAD}, {ALL} or {TWO_HEADS}")
        super().__init__(networks, body, given, weights=networks.facts.weights)
        self._at_once = at_once
        self._network: nn.Module = networks.main
        if moves == TWO_HEADS:
            if networks.auxiliary is None:
                raise ValueError(f"{networks.source} has no second regressor to average with")
            self._network = AveragedRegressors(networks.main, networks.auxiliary)
        self._parameters: Parameters = {
            name: parameter.detach()
            for name, parameter in self._network.named_parameters()
            if moves == ALL or "head" in name.split(".")
        }

    def adapt(
        self, batch: EvaluationBatch, schedules: Sequence[Schedule]
    ) -> list[tuple[AdaptationResult, ...]]:
        """As `BatchFitter`; people of a set have the same losses and stop together."""
        inputs = self.adaptation_inputs(batch)
        return [
            tuple(
                result
                for together in in_parts(inputs, self._at_once)
                for result in self._adapt_set(together, schedule)
            )
            for schedule in schedules
        ]

    def _adapt_set(self, observed: AdaptationInputs, schedule: Schedule) -> list[AdaptationResult]:
        def losses(
            parameters: Parameters, names: Collection[str] | None
        ) -> tuple[dict[str, Tensor], HeadOutput]:
            output: HeadOutput = torch.func.functional_call(
                self._network, parameters, (observed.inputs,)
            )
            values = self.objective.losses(output, observed.evidence, names)
            return {name: value.mean() for name, value in values.items()}, output

        shared = adapt(self._parameters, losses, schedule)
        result = AdaptationResult(
            shared.best_step, shared.loss_history, shared.outputs, shared.stop_reason
        )
        return [_of_person(result, person) for person in range(len(observed.evidence.confidence))]


def _of_person(result: AdaptationResult, person: int) -> AdaptationResult:
    outputs = [
        HeadOutput(*(part[person : person + 1] for part in output))
        for output in result.outputs
        if isinstance(output, HeadOutput)
    ]
    return replace(result, outputs=tuple(outputs))
