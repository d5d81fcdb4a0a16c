"""Running the frozen networks for a person, once, and adapting the head to that person."""

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation import Course, LossFunction, Parameters, Schedule, adapt
from dualhmr.adaptation.structured import AffineHead, adapt_head
from dualhmr.body import Body, keypoint_regressor
from dualhmr.bundle import Bundle
from dualhmr.camera import View, image_to_crop
from dualhmr.engines import FrozenNetworks, as_tensor, torch_head, torch_main_network
from dualhmr.inputs import network_inputs
from dualhmr.keypoints import KeypointSet, own_keypoints
from dualhmr.networks import HeadOutput, RegressorHead, affine_head, as_output
from dualhmr.objective import Evidence, Objective
from dualhmr.objective_gradient import ObjectiveGradient
from dualhmr.own_objective import own_objective
from dualhmr.person import AdaptedPerson, PersonEvidence, PersonView, describe

SCOPES = ("head", "all")


class PersonAdapter:
    """Runs the frozen networks for a person, once, and adapts the head to them."""

    def __init__(
        self,
        bundle: Bundle,
        body: Body,
        networks: FrozenNetworks,
        *,
        device: str,
        scope: str,
    ) -> None:
        """Raises ValueError for an unknown scope, or one that the backend cannot serve."""
        if scope not in SCOPES:
            raise ValueError(f"unknown scope {scope!r}; known are {', '.join(SCOPES)}")
        if scope == "all" and networks.backend != "torch":
            raise ValueError(
                f"scope 'all' adapts the backbone, which backend {networks.backend!r} keeps fixed; "
                "use backend='torch'"
            )
        self._manifest = bundle.manifest
        self._body, self._networks, self._device, self._scope = body, networks, device, scope
        self._network = torch_main_network(bundle) if scope == "all" else torch_head(bundle)
        self._network.requires_grad_(False).to(device)
        self._objective = lru_cache(maxsize=8)(self._build_objective)

    def look(self, image: npt.NDArray[np.uint8], seen: PersonView) -> PersonEvidence:
        """Runs both frozen networks on one person of `image` (H, W, 3)."""
        crop_keypoints = image_to_crop(seen.xy, seen.view)
        arrays = network_inputs(
            image,
            seen.view,
            crop_keypoints,
            seen.confidence,
            source=seen.keypoint_set,
            own=own_keypoints(self._manifest.keypoint_set).set,
            read={*self._networks.backbone.reads, *self._networks.auxiliary.reads},
        )
        features = as_tensor(self._networks.backbone(arrays)["features"], self._device)
        pseudo = self._networks.auxiliary(arrays)
        objective = self._objective(seen.keypoint_set)
        with torch.no_grad():
            target = objective.target(
                as_tensor(pseudo["rotations"], self._device),
                as_tensor(pseudo["betas"], self._device),
            )
        evidence = Evidence(
            crop_keypoints.to(self._device),
            seen.confidence.to(self._device),
            View(*(part.to(self._device) for part in seen.view)),
            target,
        )
        inputs = {name: as_tensor(array, self._device) for name, array in arrays.items()}
        return PersonEvidence(seen, objective, evidence, inputs, features)

    def adapt(self, known: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the network to one person; see `dualhmr.adaptation.adapt`."""
        return describe(known, self.course(known, schedule))

    def course(self, known: PersonEvidence, schedule: Schedule) -> Course:
        """How that goes: of the head by the structured step, of the whole network by autograd."""
        if self._scope == "all":
            return adapt(self.parameters, self.loss_function(known), schedule)
        evaluate = ObjectiveGradient(known.objective, known.evidence)
        given = self._head.given(known.features, self._box_info(known))
        return adapt_head(self._affine_head, given, evaluate, schedule, output=as_output)

    @property
    def parameters(self) -> Parameters:
        """What is adapted, as it is before."""
        return dict(self._network.named_parameters())

    @property
    def _head(self) -> RegressorHead:
        assert isinstance(self._network, RegressorHead)
        return self._network

    @cached_property
    def _affine_head(self) -> AffineHead:
        return affine_head(self._head)

    def _build_objective(self, names: KeypointSet) -> Objective:
        return own_objective(
            self._body,
            self._manifest.keypoint_set,
            camera=self._manifest.camera,
            weights=self._manifest.weights,
            keypoints=keypoint_regressor(self._body, names),
        )

    def loss_function(self, known: PersonEvidence) -> LossFunction:
        """The person's losses as a function of `parameters`, for autograd."""

        def losses(parameters: Parameters, names: Any) -> tuple[dict[str, Tensor], HeadOutput]:
            output = self._run(parameters, known)
            values = known.objective.losses(output, known.evidence, names)
            return {name: value[0] for name, value in values.items()}, output

        return losses

    def _run(self, parameters: Parameters, known: PersonEvidence) -> HeadOutput:
        arguments: tuple[Any, ...] = (known.inputs,)
        if self._scope == "head":
            arguments = (known.features, self._box_info(known))
        output: HeadOutput = torch.func.functional_call(self._network, parameters, arguments)
        return output

    def _box_info(self, known: PersonEvidence) -> Tensor | None:
        return known.inputs["box_info"] if self._manifest.main.head_reads_box_info else None
