"""Fitting one person without PyTorch, by a bundle's `adaptation.onnx`: all steps in one graph."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import STOP_REASONS, NonFiniteError, Schedule
from dualhmr.arrays import INSTALL_TORCH, to_numpy
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle
from dualhmr.engines import EngineOptions
from dualhmr.engines.frozen_network import provider_for
from dualhmr.engines.onnxruntime_session import load_onnxruntime, open_session
from dualhmr.keypoints import KeypointSet
from dualhmr.person import (
    AdaptedPerson,
    FloatArray,
    PersonEvidence,
    PersonIterates,
    StepTrace,
    best_of,
    keypoints_input,
)

SCHEDULE, KEYPOINTS = "schedule", "keypoints"
"""Keys of the file's metadata: the name of the schedule, and those of the keypoints, by commas."""


class GraphOutputs(NamedTuple):
    """The graph's outputs, by name: rows of the start, then of every step; S rows."""

    losses: FloatArray
    """(S,) the watched loss."""
    step_rotations: FloatArray
    """(S, 24, 3, 3)."""
    step_betas: FloatArray
    """(S, 10)."""
    step_translation: FloatArray
    """(S, 3) metres."""
    step_keypoints: FloatArray
    """(S, K, 2) image pixels, NaN where the body has no such point."""
    camera_focal_length: FloatArray
    """(S,) image pixels."""
    camera_principal_point: FloatArray
    """(S, 2) image pixels."""
    stop: npt.NDArray[Any]
    """() int64, an index into `STOP_REASONS`."""


class AdaptationGraph:
    """The graph in ONNX Runtime, on the CPU or on the GPU of `device`."""

    def __init__(self, path: Path, *, device: str, options: EngineOptions) -> None:
        """Opens the file at `path`, with the threads of `options`.

        Raises ImportError without ONNX Runtime, and ValueError for a file that is no such graph.
        """
        self._session = open_session(
            path,
            provider_for(None, device),
            device_index=int(device.partition(":")[2] or 0),
            options=options,
            precision="fp32",
        )
        self.reads = tuple(node.name for node in self._session.get_inputs())
        metadata = self._session.get_modelmeta().custom_metadata_map
        outputs = [node.name for node in self._session.get_outputs()]
        lacking = [name for name in (SCHEDULE, KEYPOINTS) if name not in metadata]
        lacking += [name for name in GraphOutputs._fields if name not in outputs]
        if lacking:
            raise ValueError(
                f"{path} is no graph of an adaptation: it lacks {', '.join(lacking)}; "
                "export the bundle again"
            )
        self.schedule = metadata[SCHEDULE]
        self.keypoint_set = KeypointSet(path.name, tuple(metadata[KEYPOINTS].split(",")))
        self._path = path

    @property
    def runs_on(self) -> str:
        """Engine, version and execution provider."""
        return f"onnxruntime {load_onnxruntime().__version__} {self._session.get_providers()[0]}"

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> GraphOutputs:
        """Adapts to one person, with those of `inputs` that are in `reads`.

        Raises ValueError where one of them is missing.
        """
        missing = [name for name in self.reads if name not in inputs]
        if missing:
            raise ValueError(
                f"{self._path} reads {', '.join(missing)}, which this dualhmr does not know; "
                "export the bundle again, or install a newer dualhmr"
            )
        arrays = {name: inputs[name] for name in self.reads}
        return GraphOutputs(*self._session.run(GraphOutputs._fields, arrays))


class OnnxFitter:
    """A `PersonFitter` that adapts the head by the schedule that the bundle was exported for."""

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
        """The graph's schedule, at the bundle's rates."""
        return self._bundle.manifest.schedule.schedule(self._graph.schedule)

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the head to one person; see `dualhmr.adaptation.adapt`."""
        self._check_schedule(schedule)
        outputs = self._graph(self._inputs(evidence, schedule.max_steps))
        start = float(outputs.losses[0])
        if not math.isfinite(start):
            raise NonFiniteError(f"the loss or its gradient is {start} before the first step")
        return best_of(self._iterates(outputs, evidence.observed.keypoint_set), evidence.observed)

    def _check_schedule(self, schedule: Schedule) -> None:
        own = self.schedule
        if schedule != own.limited_to(schedule.max_steps):
            other = "at other rates" if schedule.name == own.name else f"by {schedule.name!r}"
            raise ValueError(
                f"without PyTorch, bundle {self._bundle.folder} adapts by the schedule "
                f"{own.name!r} that it was exported for, not {other}; export it again with "
                f"--schedule, or {INSTALL_TORCH}"
            )

    def _inputs(
        self, evidence: PersonEvidence, max_steps: int
    ) -> dict[str, npt.NDArray[np.generic]]:
        """All inputs that a graph may have."""
        keypoints = keypoints_input(
            evidence.observed.crop_keypoints,
            evidence.observed.confidence,
            source=evidence.observed.keypoint_set,
            target=self._graph.keypoint_set,
        )
        return {
            "features": to_numpy(evidence.features),
            "box_info": evidence.inputs["box_info"],
            "keypoints": keypoints[..., :2],
            "confidence": keypoints[..., 2],
            "rotations": to_numpy(evidence.rotations),
            "betas": to_numpy(evidence.betas),
            "max_steps": np.array(max_steps, np.int64),
            **evidence.observed.view._asdict(),
        }

    def _iterates(self, outputs: GraphOutputs, names: KeypointSet) -> PersonIterates:
        return PersonIterates(
            losses=tuple(outputs.losses.tolist()),
            trace=StepTrace(outputs.step_rotations, outputs.step_betas, outputs.step_translation),
            keypoints_2d=self._reordered(outputs.step_keypoints, names),
            focal_length=outputs.camera_focal_length,
            principal_point=outputs.camera_principal_point,
            best_step=int(np.argmin(outputs.losses)),
            stop_reason=STOP_REASONS[int(outputs.stop)],
        )

    def _reordered(self, step_keypoints: FloatArray, names: KeypointSet) -> FloatArray:
        """The graph's keypoints in the order of the user's, NaN for those that it lacks."""
        own = self._graph.keypoint_set.names
        absent = np.full_like(step_keypoints[:, :1], np.nan)
        order = [own.index(name) if name in own else len(own) for name in names.names]
        return np.concatenate([step_keypoints, absent], axis=1)[:, order]
