"""Fitting N persons at once on a GPU: one copy in, graphs, one copy out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation.fast_head import AffineHead, CapturedHeads
from dualhmr.adaptation.fast_head.cuda_graph import Replay, without_tf32
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.adaptation.fast_head.head_step import Evaluate
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.body.model import Body
from dualhmr.camera import View, project
from dualhmr.engines.device_inputs import DeviceInputs
from dualhmr.engines.frozen_network import TensorSpec
from dualhmr.networks import RegressorHead, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.cuda_objective import CudaObjective
from dualhmr.objective.gradient.points import Vertices
from dualhmr.objective.gradient.skeleton import Skeleton
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.person import AdaptedPerson, PersonEvidence, PersonIterates, StepTrace, best_of


class CapturedPeople:
    """Adapts a head to `persons` persons at a time; fewer are filled up with the first of them.

    Memory and graphs are those of one objective, schedule and number of persons. Not for several
    threads at once.
    """

    def __init__(
        self,
        head: AffineHead,
        network: RegressorHead,
        objective: Objective,
        schedule: Schedule,
        persons: int,
        *,
        replay: Replay,
        kernels: CudaKernels | None,
    ) -> None:
        """`network` is the head as a module. `kernels`: None is PyTorch alone."""
        self._network, self._objective, self._persons = network, objective, persons
        self._keypoints = len(objective.available)
        self._has_keypoint = objective.available.cpu().numpy()
        shapes = {
            "features": (network.feature_count,),
            "rotations": (24, 3, 3),
            "betas": (objective.body.beta_count,),
            "keypoints": (self._keypoints, 2),
            "confidence": (self._keypoints,),
            "box_info": (3,),
            "box_center": (2,),
            "box_height": (),
            "focal_length": (),
            "principal_point": (2,),
        }
        self._inputs = DeviceInputs(persons, _specs(shapes), head.start.device)
        with torch.no_grad(), without_tf32():
            self._gradient = ObjectiveGradient(objective, self._evidence(None))
            self._evaluate: ObjectiveGradient | CudaObjective = self._gradient
            if kernels is not None:
                self._evaluate = CudaObjective(objective, self._evidence(None), kernels)
        self._heads = CapturedHeads(
            head, self._prepare, schedule, persons, replay=replay, kernels=kernels
        )
        with torch.no_grad(), without_tf32():
            self._describe_again = replay.capture(self._describe)

    @torch.no_grad()
    def adapt(self, people: Sequence[PersonEvidence]) -> list[AdaptedPerson | NonFiniteError]:
        """The best body for each of up to `persons` persons, or why there is none."""
        self._inputs.fill([_values(each) for each in people])
        results = self._heads.adapt(output=lambda _: None)[: len(people)]
        self._describe_again()
        described = self._described.cpu().numpy()
        return [
            self._adapted(described[:, row], result, person)
            for row, (result, person) in enumerate(zip(results, people, strict=True))
        ]

    def _prepare(self) -> tuple[Tensor, Evaluate]:
        inputs = self._inputs.tensors
        target = self._gradient.target(inputs["rotations"], inputs["betas"])
        box_info = inputs["box_info"] if self._network.reads_box_info else None
        head_input = self._network.head_input(inputs["features"], box_info)
        return head_input, self._evaluate.with_evidence(self._evidence(target))

    def _evidence(self, target: Any) -> Evidence:
        inputs = self._inputs.tensors
        return Evidence(inputs["keypoints"], inputs["confidence"], self._view(), target)

    def _view(self) -> View:
        return View(*(self._inputs.tensors[name] for name in View._fields))

    def _describe(self) -> None:
        """What users read of all iterates, side by side: (S + 1, N, .)."""
        estimates = self._heads.estimates
        rows = len(estimates)
        output = as_output(estimates.flatten(0, 1))
        view = View(*(part.expand(rows, *part.shape).flatten(0, 1) for part in self._view()))
        camera = self._objective.full_camera(output.camera, view)
        rotations = output.rotations
        keypoints = project(self._gradient.keypoints(rotations, output.betas), camera)
        parts = (rotations, output.betas, *camera, keypoints)
        numbers = torch.cat([part.reshape(len(rotations), -1) for part in parts], dim=1)
        self._described = numbers.unflatten(0, (rows, self._persons))

    def _adapted(
        self,
        described: npt.NDArray[Any],
        result: AdaptationResult | NonFiniteError,
        person: PersonEvidence,
    ) -> AdaptedPerson | NonFiniteError:
        if isinstance(result, NonFiniteError):
            return result
        sizes = (216, self._objective.body.beta_count, 3, 1, 2)
        rows = described[: len(result.loss_history)]
        rotations, betas, translation, focal_length, principal_point, keypoints = np.split(
            rows, np.cumsum(sizes), axis=1
        )
        keypoints = keypoints.reshape(len(rows), -1, 2)
        iterates = PersonIterates(
            losses=result.loss_history,
            trace=StepTrace(rotations.reshape(-1, 24, 3, 3), betas, translation),
            keypoints_2d=np.where(self._has_keypoint[:, None], keypoints, np.float32(np.nan)),
            focal_length=focal_length[:, 0],
            principal_point=principal_point,
            best_step=result.best_step,
            stop_reason=result.stop_reason,
        )
        return best_of(iterates, person.observed)


class CapturedBodies:
    """Poses one body for up to `persons` persons at a time. Not for several threads at once."""

    def __init__(
        self, body: Body, skeleton: Skeleton, vertices: Vertices, persons: int, *, replay: Replay
    ) -> None:
        """`skeleton` and `vertices` are those of `body`, whatever the number of persons."""
        self._skeleton, self._vertices = skeleton, vertices
        shapes = {"rotations": (24, 3, 3), "betas": (body.beta_count,)}
        self._inputs = DeviceInputs(persons, _specs(shapes), body.v_template.device)
        with torch.no_grad(), without_tf32():
            self._pose_again = replay.capture(self._pose)

    @torch.no_grad()
    def pose(self, people: list[dict[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        """(N, V + 24, 3): vertices, then joints, of `rotations` and `betas` (1, ...) by name."""
        self._inputs.fill(people)
        self._pose_again()
        posed: npt.NDArray[Any] = self._posed[: len(people)].cpu().numpy()
        return posed

    def _pose(self) -> None:
        skeleton = self._skeleton.forward(*self._inputs.tensors.values())
        skin = self._vertices.forward(skeleton.transforms, skeleton.blend)
        self._posed = torch.cat([skin.vertices.mT, skeleton.chained.joints], dim=1)


def _specs(shapes: dict[str, tuple[int, ...]]) -> list[TensorSpec]:
    return [TensorSpec(name, np.dtype(np.float32), shape) for name, shape in shapes.items()]


def _values(person: PersonEvidence) -> dict[str, Any]:
    """What the graphs read of a person, by name; arrays on the host or the device."""
    observed = person.observed
    return {
        "features": person.features,
        "rotations": person.rotations,
        "betas": person.betas,
        "keypoints": observed.crop_keypoints,
        "confidence": observed.confidence,
        "box_info": person.inputs["box_info"],
        **observed.view._asdict(),
    }
