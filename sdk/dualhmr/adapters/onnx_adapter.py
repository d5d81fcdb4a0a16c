"""Adapting the head to one person by a bundle's `adaptation.onnx`, without PyTorch."""

import math

import numpy as np
import numpy.typing as npt

from dualhmr.adapters.adaptation_graph import STOP_REASONS, AdaptationGraph, GraphOutputs
from dualhmr.arrays import to_numpy
from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import KeypointSet
from dualhmr.manifest import ADAPTATION_GRAPH
from dualhmr.mesh import FloatArray, StepTrace
from dualhmr.person import AdaptedPerson, Iterates, PersonEvidence, best_of
from dualhmr.schedules import Schedule
from dualhmr.torch_extra import INSTALL_TORCH


class OnnxAdapter:
    """Adapts the head by the schedule that the bundle was exported for."""

    def __init__(self, bundle: Bundle, *, device: str, options: EngineOptions) -> None:
        """Raises FileNotFoundError for a bundle without the graph, ValueError for a damaged one."""
        if ADAPTATION_GRAPH not in bundle.manifest.files:
            raise FileNotFoundError(
                f"bundle {bundle.folder} comes without {ADAPTATION_GRAPH}, which adapts without "
                f"PyTorch; export it again, or {INSTALL_TORCH}"
            )
        self._bundle = bundle
        self._graph = AdaptationGraph(bundle.path(ADAPTATION_GRAPH), device=device, options=options)

    @property
    def runs_on(self) -> str:
        """Engine, version and execution provider."""
        return self._graph.runs_on

    @property
    def schedule(self) -> Schedule:
        """The one that the graph follows, at the bundle's rates."""
        return self._bundle.manifest.schedule.schedule(self._graph.schedule)

    def adapt(self, known: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the head to one person; see `dualhmr.adaptation.adapt`."""
        self._check_schedule(schedule)
        outputs = self._graph(self._inputs(known, schedule.max_steps))
        start = float(outputs.losses[0])
        if not math.isfinite(start):
            raise ValueError(f"the loss or its gradient is {start} before the first step")
        return best_of(self._iterates(outputs, known.seen.keypoint_set), known.seen)

    def _check_schedule(self, schedule: Schedule) -> None:
        own = self.schedule
        if schedule != own.limited_to(schedule.max_steps):
            other = "at other rates" if schedule.name == own.name else f"by {schedule.name!r}"
            raise ValueError(
                f"without PyTorch, bundle {self._bundle.folder} adapts by the schedule "
                f"{own.name!r} that it was exported for, not {other}; export it again with "
                f"--schedule, or {INSTALL_TORCH}"
            )

    def _inputs(self, known: PersonEvidence, max_steps: int) -> dict[str, npt.NDArray[np.generic]]:
        """All that a graph may read."""
        keypoints = keypoints_input(
            known.crop_keypoints,
            known.seen.confidence,
            source=known.seen.keypoint_set,
            target=self._graph.keypoint_set,
        )
        return {
            "features": to_numpy(known.features),
            "box_info": known.inputs["box_info"],
            "keypoints": keypoints[..., :2],
            "confidence": keypoints[..., 2],
            "rotations": to_numpy(known.rotations),
            "betas": to_numpy(known.betas),
            "max_steps": np.array(max_steps, np.int64),
            **known.seen.view._asdict(),
        }

    def _iterates(self, outputs: GraphOutputs, names: KeypointSet) -> Iterates:
        return Iterates(
            losses=tuple(outputs.losses.tolist()),
            trace=StepTrace(outputs.step_rotations, outputs.step_betas, outputs.step_translation),
            keypoints_2d=self._named(outputs.step_keypoints, names),
            focal_length=outputs.camera_focal_length,
            principal_point=outputs.camera_principal_point,
            best_step=int(np.argmin(outputs.losses)),
            stop_reason=STOP_REASONS[int(outputs.stop)],
        )

    def _named(self, step_keypoints: FloatArray, names: KeypointSet) -> FloatArray:
        """The graph's keypoints in the order of the user's, NaN for those that it does not know."""
        own = self._graph.keypoint_set.names
        absent = np.full_like(step_keypoints[:, :1], np.nan)
        order = [own.index(name) if name in own else len(own) for name in names.names]
        return np.concatenate([step_keypoints, absent], axis=1)[:, order]
