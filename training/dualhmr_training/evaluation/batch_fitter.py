"""Test-time adaptation of many people at once, each person alone."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head import adapt_heads
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body
from dualhmr.body.point_regressors import keypoint_regressor, spin_24_regressor
from dualhmr.camera import box_info
from dualhmr.crop import crop_convention
from dualhmr.keypoints import BODY_23, SPIN_24, KeypointSet, network_keypoints
from dualhmr.networks import affine_head, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, MeshTarget, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.person import keypoints_input
from dualhmr_training.evaluation.groups import EvaluationBatch, GroundTruth
from dualhmr_training.training_folder import Networks


class AdaptationInputs(NamedTuple):
    """What adaptation starts from, for N people."""

    inputs: dict[str, Tensor]
    """The networks' inputs, by name."""
    evidence: Evidence
    """Keypoints, and the auxiliary network's pseudo mesh where there is such a network."""


class BatchFitter:
    """Does what `dualhmr recover` does, in PyTorch, for batches of people.

    Experiments that adapt other weights override `adapt`; those that adapt to another pseudo mesh,
    `pseudo_mesh`.
    """

    def __init__(
        self,
        networks: Networks,
        body: Body,
        keypoint_set: KeypointSet,
        *,
        weights: LossWeights,
    ) -> None:
        """`keypoint_set` is that of the evidence.

        Raises ValueError for an unknown keypoint set.
        """
        facts = networks.facts
        annotated = keypoint_set is SPIN_24
        points = spin_24_regressor(body) if annotated else keypoint_regressor(body, keypoint_set)
        self.objective = own_objective(
            body,
            facts.keypoint_set,
            camera=facts.camera,
            weights=weights,
            keypoints=points,
            crop_size=crop_convention(facts.crop).size,
        )
        self._networks = networks
        self._keypoint_set = keypoint_set
        self._head = affine_head(networks.main.head)

    @torch.no_grad()
    def adaptation_inputs(self, batch: EvaluationBatch) -> AdaptationInputs:
        """Builds the networks' inputs and runs the auxiliary network."""
        evidence, networks = batch.evidence, self._networks
        inputs = {"box_info": box_info(evidence.view)}
        if "keypoints" in networks.reads:
            observed, source = (evidence.keypoints, evidence.confidence), self._keypoint_set
            if batch.observed is not None:
                observed, source = batch.observed, BODY_23
            target = network_keypoints(networks.facts.keypoint_set).set
            inputs["keypoints"] = keypoints_input(*observed, source=source, target=target)
        if batch.image is not None:
            inputs["image"] = batch.image
        if batch.landmarks is not None:
            inputs["landmarks"] = batch.landmarks
        evidence = evidence._replace(target=self.pseudo_mesh(batch.truth, inputs))
        return AdaptationInputs(inputs, evidence)

    def pseudo_mesh(self, _truth: GroundTruth, inputs: dict[str, Tensor]) -> MeshTarget | None:
        """What the auxiliary network makes of `inputs`; None where there is no such network."""
        if self._networks.auxiliary is None:
            return None
        output = self._networks.auxiliary(inputs)
        return self.objective.target(output.rotations, output.betas)

    @torch.no_grad()
    def adapt(
        self, batch: EvaluationBatch, schedules: Sequence[Schedule]
    ) -> list[tuple[AdaptationResult, ...]]:
        """For every schedule a result for every person; their outputs are `HeadOutput`s of one.

        Raises ValueError as `adapt_heads` does.
        """
        inputs, evidence = self.adaptation_inputs(batch)
        main = self._networks.main
        box_info = inputs["box_info"] if main.head.reads_box_info else None
        head_input = main.head.head_input(main.encode(inputs), box_info)
        evaluate = ObjectiveGradient(self.objective, evidence)
        return [
            adapt_heads(self._head, head_input, evaluate, schedule, output=as_output)
            for schedule in schedules
        ]
