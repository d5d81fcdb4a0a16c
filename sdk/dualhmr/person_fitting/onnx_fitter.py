"""Fitting one person by a bundle's `adaptation.onnx`, which needs neither numba nor PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import (
    LAST,
    STOP_REASONS,
    NonFiniteError,
    Schedule,
)
from dualhmr.arrays import to_numpy
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle
from dualhmr.camera import CAMERAS, CROP_SIZE, CropSize, View
from dualhmr.compiling import INSTALL_NUMBA
from dualhmr.engines import EngineOptions
from dualhmr.keypoints import KeypointSet
from dualhmr.person import (
    AdaptedPerson,
    FirstGuess,
    FloatArray,
    PersonEvidence,
    PersonIterates,
    StepTrace,
    best_of,
    keypoints_input,
)
from dualhmr.person_fitting.adaptation_graph import AdaptationGraph, GraphOutputs
from dualhmr.person_fitting.one_by_one import adapt_one_by_one
from dualhmr.untrusted import brief


class PersonGraph(Protocol):
    """The adaptation of a bundle for one schedule, whatever runs it."""

    schedule: str
    stop_rule: str
    keypoint_set: KeypointSet

    @property
    def runs_on(self) -> str:
        """Engine, version and device."""
        ...

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> GraphOutputs:
        """Adapts to one person; `inputs` hold all that a graph may read, and `max_steps`."""
        ...


class OnnxFitter:
    """A `PersonFitter` that adapts the head by the schedule that the bundle was exported for."""

    def __init__(self, bundle: Bundle, *, device: str, options: EngineOptions) -> None:
        """Raises FileNotFoundError for a bundle without the graph, ValueError for a damaged one."""
        self._bundle = bundle
        self._graph = self._open(bundle, device, options)
        if self._graph.stop_rule != self.schedule.stop_rule:
            raise ValueError(
                f"{bundle.folder}: its graph stops by the rule {brief(self._graph.stop_rule)}, "
                f"schedule {self.schedule.name!r} by {self.schedule.stop_rule!r}; export the "
                "bundle again"
            )

    def _open(self, bundle: Bundle, device: str, options: EngineOptions) -> PersonGraph:
        if ADAPTATION_GRAPH not in bundle.manifest.files:
            raise FileNotFoundError(
                f"bundle {bundle.folder} comes without {ADAPTATION_GRAPH}, which adapts without "
                f"numba and PyTorch; export it again, or {INSTALL_NUMBA}"
            )
        return AdaptationGraph(bundle.path(ADAPTATION_GRAPH), device=device, options=options)

    @property
    def runs_on(self) -> str:
        """Engine, version and execution provider."""
        return self._graph.runs_on

    @property
    def schedule(self) -> Schedule:
        """The graph's schedule, at the bundle's rates."""
        manifest = self._bundle.manifest
        return manifest.schedule.schedule(self._graph.schedule, weights=manifest.weights)

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the head to one person; see `dualhmr.adaptation.adapt`."""
        self._check_schedule(schedule)
        outputs = self._graph(self._inputs(evidence, schedule.max_steps))
        iterates = self._iterates(outputs, evidence.observed.keypoint_set, schedule.iterate)
        return best_of(iterates, evidence.observed)

    def adapt_all(
        self, people: Sequence[PersonEvidence], schedule: Schedule
    ) -> list[AdaptedPerson | NonFiniteError]:
        """As `adapt`, for each of `people`."""
        return adapt_one_by_one(self.adapt, people, schedule)

    def first_guess(self, evidence: PersonEvidence) -> FirstGuess:
        """The graph's first row, before any step."""
        outputs = self._graph(self._inputs(evidence, 0))
        translation = outputs.step_translation[0]
        observed = evidence.observed
        camera = crop_camera(
            translation, observed.view, self._bundle.manifest.camera, observed.crop.size
        )
        return FirstGuess(
            rotations=outputs.step_rotations[0],
            betas=outputs.step_betas[0],
            camera=camera,
            translation=translation,
            focal_length=float(outputs.camera_focal_length[0]),
            principal_point=outputs.camera_principal_point[0],
        )

    def _check_schedule(self, schedule: Schedule) -> None:
        own = self.schedule
        if replace(schedule, iterate=own.iterate) != own.limited_to(schedule.max_steps):
            other = "at other rates" if schedule.name == own.name else f"by {schedule.name!r}"
            raise ValueError(
                f"the graphs of bundle {self._bundle.folder} adapt by the schedule {own.name!r} "
                f"that it was exported for, not {other}; export it again with --schedule, or use "
                f"adaptation 'numba' ({INSTALL_NUMBA}) or 'torch', which know all schedules"
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

    def _iterates(self, outputs: GraphOutputs, names: KeypointSet, iterate: str) -> PersonIterates:
        last = len(outputs.losses) - 1
        return PersonIterates(
            losses=tuple(outputs.losses.tolist()),
            trace=StepTrace(outputs.step_rotations, outputs.step_betas, outputs.step_translation),
            keypoints_2d=self._reordered(outputs.step_keypoints, names),
            focal_length=outputs.camera_focal_length,
            principal_point=outputs.camera_principal_point,
            best_step=last if iterate == LAST else int(np.argmin(outputs.losses)),
            stop_reason=STOP_REASONS[int(outputs.stop)],
        )

    def _reordered(self, step_keypoints: FloatArray, names: KeypointSet) -> FloatArray:
        """The graph's keypoints in the order of the user's, NaN for those that it lacks."""
        own = self._graph.keypoint_set.names
        absent = np.full_like(step_keypoints[:, :1], np.nan)
        order = [own.index(name) if name in own else len(own) for name in names.names]
        return np.concatenate([step_keypoints, absent], axis=1)[:, order]


def crop_camera(
    translation: FloatArray, view: View, convention: str, size: CropSize = CROP_SIZE
) -> FloatArray:
    """The head's camera (3,), which the graph does not give, from the translation (3,), metres.

    `view` is of one person. All conventions put them at a depth inverse to the scale, and add x
    and y.
    """
    exact = View(*(np.asarray(part, np.float64) for part in view))

    def place(scale: float) -> npt.NDArray[np.float64]:
        full = CAMERAS[convention](np.array([[scale, 0.0, 0.0]]), exact, size)
        return np.asarray(full.translation[0])

    scale = float(place(1.0)[2] / translation[2])
    x, y = translation[:2] - place(scale)[:2]
    return np.array([scale, x, y], np.float32)
