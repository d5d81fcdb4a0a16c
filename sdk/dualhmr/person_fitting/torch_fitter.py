"""Adapting a network to one person in PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult, adapt
from dualhmr.adaptation.fast_head import AffineHead, CapturedHeads, adapt_head
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.schedule import Schedule
from dualhmr.adaptation.step import LossFunction
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.points import keypoint_regressor
from dualhmr.bundle import Bundle
from dualhmr.camera import View, project
from dualhmr.engines.torch_networks import as_tensor, torch_head, torch_main_network
from dualhmr.keypoints import KeypointSet
from dualhmr.networks import HeadOutput, RegressorHead, affine_head, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, Objective, own_objective
from dualhmr.person import (
    AdaptedPerson,
    FloatArray,
    ObservedPerson,
    PersonEvidence,
    PersonIterates,
    StepTrace,
    best_of,
)


class PersonTensors(NamedTuple):
    """`PersonEvidence` as tensors."""

    objective: Objective
    evidence: Evidence
    inputs: dict[str, Tensor]
    features: Tensor


class TorchFitter:
    """Adapts the head, or for scope "all" the whole main network, by any schedule."""

    def __init__(
        self,
        bundle: Bundle,
        body: BodyArrays,
        *,
        device: str,
        scope: str,
        cuda_graph: bool = False,
    ) -> None:
        """With `cuda_graph`, steps of the head on a GPU are replayed as CUDA graphs.

        Raises FileNotFoundError or ValueError for weights that are missing or do not fit.
        """
        self._manifest = bundle.manifest
        self._body = Body.from_arrays(body).to(device=device)
        self._device, self._scope = device, scope
        self._network = torch_main_network(bundle) if scope == "all" else torch_head(bundle)
        self._network.requires_grad_(False).to(device)
        self._captures = cuda_graph and device.startswith("cuda") and scope == "head"
        self._graphs: dict[tuple[Objective, Schedule], CapturedHeads] = {}
        self._objective = lru_cache(maxsize=8)(self._build_objective)

    @property
    def runs_on(self) -> str:
        """PyTorch, its version and the device."""
        return f"torch {torch.__version__} {self._device}"

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the network to one person; see `dualhmr.adaptation.adapt`."""
        with few_threads(self._device, self._scope):
            tensors = self.tensors(evidence)
            return describe(tensors, self.course(tensors, schedule), evidence.observed)

    def course(self, known: PersonTensors, schedule: Schedule) -> AdaptationResult:
        """How that goes: of the head by the structured step, of the whole network by autograd."""
        if self._scope == "all":
            return adapt(self.parameters, self.loss_function(known), schedule)
        evaluate = ObjectiveGradient(known.objective, known.evidence)
        given = self._head.given(known.features, self._box_info(known))
        if self._captures:
            heads = self._captured(known.objective, schedule, evaluate)
            return heads.adapt(given, evaluate, output=as_output)[0]
        return adapt_head(self._affine_head, given, evaluate, schedule, output=as_output)

    def _captured(
        self, objective: Objective, schedule: Schedule, evaluate: ObjectiveGradient
    ) -> CapturedHeads:
        """The step as CUDA graphs, captured for the first person of a kind and kept for others."""
        key = (objective, schedule)
        if key not in self._graphs:
            self._graphs[key] = CapturedHeads(
                self._affine_head, evaluate, schedule, persons=1, shared=[objective]
            )
        return self._graphs[key]

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

    @torch.no_grad()
    def tensors(self, evidence: PersonEvidence) -> PersonTensors:
        """A person's evidence as tensors on the device."""

        def moved(array: Any) -> Tensor:
            return as_tensor(array, self._device)

        objective = self._objective(evidence.observed.keypoint_set)
        tensors = Evidence(
            moved(evidence.observed.crop_keypoints),
            moved(evidence.observed.confidence),
            View(*map(moved, evidence.observed.view)),
            objective.target(moved(evidence.rotations), moved(evidence.betas)),
        )
        inputs = {name: moved(array) for name, array in evidence.inputs.items()}
        return PersonTensors(objective, tensors, inputs, moved(evidence.features))

    def loss_function(self, known: PersonTensors) -> LossFunction:
        """The person's losses as a function of `parameters`, for autograd."""

        def losses(parameters: Parameters, names: Any) -> tuple[dict[str, Tensor], HeadOutput]:
            output = self._run(parameters, known)
            values = known.objective.losses(output, known.evidence, names)
            return {name: value[0] for name, value in values.items()}, output

        return losses

    def _run(self, parameters: Parameters, known: PersonTensors) -> HeadOutput:
        arguments: tuple[Any, ...] = (known.inputs,)
        if self._scope == "head":
            arguments = (known.features, self._box_info(known))
        output: HeadOutput = torch.func.functional_call(self._network, parameters, arguments)
        return output

    def _box_info(self, known: PersonTensors) -> Tensor | None:
        return known.inputs["box_info"] if self._manifest.main.head_reads_box_info else None


@contextmanager
def few_threads(device: str, scope: str) -> Iterator[None]:
    """On a CPU the head's steps are many small sums, which cost more to share than to do."""
    threads = torch.get_num_threads()
    if device == "cpu" and scope == "head":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def describe(
    known: PersonTensors, course: AdaptationResult, observed: ObservedPerson
) -> AdaptedPerson:
    """The best iterate in NumPy, its camera and keypoints, and the way there."""
    return best_of(_iterates(known, course), observed)


@torch.no_grad()
def _iterates(known: PersonTensors, adaptation: AdaptationResult) -> PersonIterates:
    """Every iterate in NumPy, with its camera and keypoints."""
    outputs = [output for output in adaptation.outputs if isinstance(output, HeadOutput)]
    iterates = HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))
    objective, rotations = known.objective, iterates.rotations
    camera = objective.camera(iterates.camera, known.evidence.view)
    skeleton = pose_skeleton(objective.body, rotations, iterates.betas)
    keypoints = project(objective.points(skeleton)[0], camera)
    return PersonIterates(
        losses=adaptation.loss_history,
        trace=StepTrace(
            *(_array(part) for part in (rotations, iterates.betas, camera.translation))
        ),
        keypoints_2d=_array(keypoints.masked_fill(~objective.available[:, None], torch.nan)),
        focal_length=_array(camera.focal_length.expand(len(outputs))),
        principal_point=_array(camera.principal_point.expand(len(outputs), 2)),
        best_step=adaptation.best_step,
        stop_reason=adaptation.stop_reason,
    )


def _array(tensor: Tensor) -> FloatArray:
    numbers: npt.NDArray[Any] = tensor.cpu().numpy()
    return np.asarray(numbers, dtype=np.float32)
