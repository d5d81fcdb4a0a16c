"""Fitting one person in PyTorch: the head by the fast step, or the whole network by autograd."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import Adaptation, adapt
from dualhmr.adaptation.fast_head import AffineHead, adapt_head
from dualhmr.adaptation.fast_head.adapt_head import HeadAdaptation
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.adaptation.step import LossFunction, sum_losses
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.body.posing import pose_arrays
from dualhmr.bundle import Bundle
from dualhmr.camera import View, project
from dualhmr.crop import crop_convention
from dualhmr.engines.device_inputs import as_tensor
from dualhmr.engines.torch_networks import torch_head, torch_main_network
from dualhmr.keypoints import KeypointSet, network_keypoints
from dualhmr.networks import HeadOutput, RegressorHead, affine_head, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, Objective, own_objective
from dualhmr.person import (
    AdaptedPerson,
    FirstGuess,
    FloatArray,
    ObservedPerson,
    PersonEvidence,
    PersonIterates,
    StepTrace,
    best_of,
)
from dualhmr.person_fitting.group_fitter import GroupFitter
from dualhmr.person_fitting.one_by_one import adapt_one_by_one
from dualhmr.torch_threads import one_thread, usable_threads


class PersonTensors(NamedTuple):
    """`PersonEvidence` as tensors."""

    objective: Objective
    evidence: Evidence
    inputs: dict[str, Tensor]
    features: Tensor


class TorchFitter:
    """A `PersonFitter` that adapts the head, or for scope "all" the whole main network."""

    def __init__(
        self,
        bundle: Bundle,
        body: BodyArrays,
        *,
        device: str,
        scope: str,
        cuda_graph: bool = True,
    ) -> None:
        """With `cuda_graph`, steps of the head on a GPU are replayed as CUDA graphs.

        On a GPU kernels are compiled and the first graphs captured now. What fails there is left
        out, with one warning. Raises FileNotFoundError or ValueError for weights that are missing
        or do not fit.
        """
        self._manifest, self._arrays = bundle.manifest, body
        self._device, self._scope = device, scope
        with one_thread():  # in a forked process there may be no others
            self._body = Body.from_arrays(body).to(device=device)
            self._network = torch_main_network(bundle) if scope == "all" else torch_head(bundle)
            self._network.requires_grad_(False).to(device)
        self._objective = lru_cache(maxsize=8)(self._build_objective)
        self._turn = Lock()
        self._groups: GroupFitter | None = None
        if scope == "head" and device.startswith("cuda"):
            self._groups = GroupFitter(
                self._affine_head, self._head, self._body, cuda_graph=cuda_graph
            )
            own = network_keypoints(self._manifest.keypoint_set).set
            schedule = self._manifest.schedule.schedule(weights=self._manifest.weights)
            self._groups.open(self._objective(own), schedule)

    @property
    def runs_on(self) -> str:
        """PyTorch, its version and the device."""
        return f"torch {torch.__version__} {self._device}"

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the network to one person; see `dualhmr.adaptation.adapt`."""
        if self._groups is not None:
            (result,) = self.adapt_all([evidence], schedule)
            if isinstance(result, NonFiniteError):
                raise result
            return result
        with few_threads(self._device, self._scope):
            tensors = self.tensors(evidence)
            return describe(tensors, self.adapt_tensors(tensors, schedule), evidence.observed)

    def adapt_all(
        self, people: Sequence[PersonEvidence], schedule: Schedule
    ) -> list[AdaptedPerson | NonFiniteError]:
        """As `adapt` for each of `people`, whose keypoints are of one set; on a GPU together."""
        if self._groups is None or not people:
            return adapt_one_by_one(self.adapt, people, schedule)
        objective = self._objective(people[0].observed.keypoint_set)
        return self._groups.adapt(people, objective, schedule)

    def pose(self, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `PosingFitter`."""
        if self._groups is None or not len(rotations):
            return pose_arrays(self._arrays, rotations, betas)
        return self._groups.pose(rotations, betas)

    def adapt_from(
        self, evidence: PersonEvidence, schedule: Schedule, head: "Parameters | None"
    ) -> tuple[AdaptedPerson, Parameters]:
        """See `WarmFitter`. On a GPU steps are not replayed as graphs here."""
        with few_threads(self._device, self._scope):
            tensors = self.tensors(evidence)
            result = self._adapt(tensors, schedule, head)
            return describe(tensors, result, evidence.observed), result.parameters

    @torch.no_grad()
    def loss_with(
        self, evidence: PersonEvidence, schedule: Schedule, head: "Parameters | None"
    ) -> float:
        """See `WarmFitter`."""
        with few_threads(self._device, self._scope):
            watched = schedule.watched
            parameters = self.parameters if head is None else head
            losses, _ = self.loss_function(self.tensors(evidence))(parameters, watched.losses)
            return float(sum_losses(losses, watched.losses, watched.scale))

    @torch.no_grad()
    def first_guess(self, evidence: PersonEvidence) -> FirstGuess:
        """The network's output before any step."""
        with few_threads(self._device, self._scope):
            person = self.tensors(evidence)
            output = self._run(self.parameters, person)
            camera = person.objective.full_camera(output.camera, person.evidence.view)
        return FirstGuess(
            rotations=_array(output.rotations[0]),
            betas=_array(output.betas[0]),
            camera=_array(output.camera[0]),
            translation=_array(camera.translation[0]),
            focal_length=float(camera.focal_length[0]),
            principal_point=_array(camera.principal_point[0]),
        )

    def adapt_tensors(self, person: PersonTensors, schedule: Schedule) -> AdaptationResult:
        """As `adapt`, from tensors and without a body: outputs are `HeadOutput`s of one person."""
        return self._adapt(person, schedule, None)

    def _adapt(
        self, person: PersonTensors, schedule: Schedule, parameters: "Parameters | None"
    ) -> Adaptation | HeadAdaptation:
        """From the `parameters` of the network, or of the head alone; None: the trained ones."""
        if self._scope == "all":
            with self._turn:  # functional calls exchange the module's parameters meanwhile
                start = self.parameters if parameters is None else parameters
                return adapt(start, self.loss_function(person), schedule, head_prefix="head.")
        head = self._affine_head
        if parameters is not None:
            head = AffineHead.from_parameters(
                parameters, start=head.start, iterations=head.iterations
            )
        evaluate = ObjectiveGradient(person.objective, person.evidence)
        head_input = self._head.head_input(person.features, self._box_info(person))
        return adapt_head(head, head_input, evaluate, schedule, output=as_output)

    @property
    def parameters(self) -> Parameters:
        """What is adapted, before adaptation."""
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
            crop_size=crop_convention(self._manifest.crop).size,
        )

    @torch.no_grad()
    def tensors(self, evidence: PersonEvidence) -> PersonTensors:
        """A person's evidence as tensors on the device."""

        def on_device(array: Any) -> Tensor:
            return as_tensor(array, self._device)

        observed = evidence.observed
        objective = self._objective(observed.keypoint_set)
        tensors = Evidence(
            on_device(observed.crop_keypoints),
            on_device(observed.confidence),
            View(*map(on_device, observed.view)),
            objective.target(on_device(evidence.rotations), on_device(evidence.betas)),
        )
        inputs = {name: on_device(array) for name, array in evidence.inputs.items()}
        return PersonTensors(objective, tensors, inputs, on_device(evidence.features))

    def loss_function(self, person: PersonTensors) -> LossFunction:
        """The person's losses as a function of `parameters`, for autograd."""

        def losses(parameters: Parameters, names: Any) -> tuple[dict[str, Tensor], HeadOutput]:
            output = self._run(parameters, person)
            values = person.objective.losses(output, person.evidence, names)
            return {name: value[0] for name, value in values.items()}, output

        return losses

    def _run(self, parameters: Parameters, person: PersonTensors) -> HeadOutput:
        arguments: tuple[Any, ...] = (person.inputs,)
        if self._scope == "head":
            arguments = (person.features, self._box_info(person))
        output: HeadOutput = torch.func.functional_call(self._network, parameters, arguments)
        return output

    def _box_info(self, person: PersonTensors) -> Tensor | None:
        return person.inputs["box_info"] if self._manifest.main.head_reads_box_info else None


def few_threads(device: str, scope: str) -> AbstractContextManager[None]:
    """One thread for the head's steps on a CPU: their sums are too small to share among threads."""
    if device != "cpu":
        return nullcontext()
    return one_thread() if scope == "head" else usable_threads()


@torch.no_grad()
def describe(
    person: PersonTensors, adaptation: AdaptationResult, observed: ObservedPerson
) -> AdaptedPerson:
    """All iterates in NumPy, with their cameras and keypoints, and the best one of them."""
    outputs = [output for output in adaptation.outputs if isinstance(output, HeadOutput)]
    stacked = HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))
    objective, rotations = person.objective, stacked.rotations
    camera = objective.full_camera(stacked.camera, person.evidence.view)
    skeleton = pose_skeleton(objective.body, rotations, stacked.betas)
    keypoints = project(objective.points(skeleton)[0], camera)
    iterates = PersonIterates(
        losses=adaptation.loss_history,
        trace=StepTrace(*(_array(part) for part in (rotations, stacked.betas, camera.translation))),
        keypoints_2d=_array(keypoints.masked_fill(~objective.available[:, None], torch.nan)),
        focal_length=_array(camera.focal_length.expand(len(outputs))),
        principal_point=_array(camera.principal_point.expand(len(outputs), 2)),
        best_step=adaptation.best_step,
        stop_reason=adaptation.stop_reason,
    )
    return best_of(iterates, observed)


def _array(tensor: Tensor) -> FloatArray:
    numbers: npt.NDArray[Any] = tensor.cpu().numpy()
    return np.asarray(numbers, dtype=np.float32)
