"""Fitting one person in TensorRT, step by step, without PyTorch."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.recorder import Recorder
from dualhmr.adaptation.schedule import STOP_REASONS, Schedule, planned_steps
from dualhmr.bundle import ADAPTATION_START, ADAPTATION_STEPS, Bundle
from dualhmr.engines import EngineOptions
from dualhmr.engines.onnx_check import check_onnx, onnx_metadata
from dualhmr.engines.tensorrt.steps import open_step_engines
from dualhmr.keypoints import KeypointSet
from dualhmr.person_fitting.adaptation_graph import (
    KEYPOINTS,
    SCHEDULE,
    GraphOutputs,
    check_inputs_known,
    check_outputs,
    check_schedule_name,
    keypoint_set_of,
)
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.untrusted import one_value_error

_AT_ONCE = 8
"""Steps that are queued before the host looks at their losses, which waits for the GPU."""


class Steps(Protocol):
    """The graphs of a start and of steps over one state, opened; see `StepEngines`."""

    row_size: int

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        ...

    def begin(self, inputs: Mapping[str, npt.NDArray[Any]], rows: int) -> None:
        """Takes a person's inputs, and makes room for a history of `rows`."""
        ...

    def run(self, number: int, *, row: int | None = None, cleared: bool = False) -> None:
        """Runs one of the graphs."""
        ...

    def rows(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Rows of the history."""
        ...


class AdaptationSteps:
    """Engines of the start and of steps, run by a schedule; it returns what one graph would."""

    def __init__(
        self,
        engines: Steps,
        schedule: Schedule,
        keypoint_set: KeypointSet,
        *,
        path: Path,
        runs_on: str,
    ) -> None:
        """`engines`: first the start's, then one for each phase of `schedule`.

        `keypoint_set`: the graphs' keypoints. `path`: what errors name.
        """
        self.runs_on, self.keypoint_set = runs_on, keypoint_set
        self.schedule, self.stop_rule = schedule.name, schedule.stop_rule
        self._engines, self._schedule, self._path = engines, schedule, path
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> GraphOutputs:
        """Adapts to one person; see `AdaptationGraph`."""
        check_inputs_known(self._engines.reads, inputs, self._path)
        max_steps = int(inputs["max_steps"])
        with self._lock:
            rows, stop = self._take_steps(inputs, self._schedule.limited_to(max_steps))
        outputs = self._outputs(rows, stop)
        check_outputs(outputs, self._path, max_steps, len(self.keypoint_set))
        return outputs

    def _take_steps(
        self, inputs: Mapping[str, npt.NDArray[Any]], schedule: Schedule
    ) -> tuple[npt.NDArray[np.float32], str]:
        """Rows of the iterates that count, and why there are no more."""
        plan, recorder = list(planned_steps(schedule)), Recorder(schedule)
        self._engines.begin(inputs, len(plan))
        self._engines.run(0)
        rows: list[npt.NDArray[np.float32]] = []
        for first in range(0, len(plan), _AT_ONCE):
            planned = plan[first : first + _AT_ONCE]
            for number, each in enumerate(planned, first):
                # An evaluation is a step whose update is ignored.
                phase = schedule.phases.index(each.phase)
                self._engines.run(1 + phase, row=number, cleared=each.updates == 0)
            found = self._engines.rows(first, first + len(planned))
            for each, row in zip(planned, found, strict=True):
                last = each.final or bool(recorder.stop_reason)
                watched, compared = float(row[0]), float(row[1])
                recorder.record(watched, row, each, watched if last else compared)
                rows.append(row)
                if recorder.finished or last:
                    result = recorder.result()
                    return np.stack(rows[: len(result.loss_history)]), result.stop_reason
        raise AssertionError("the last of the planned steps is final")

    def _outputs(self, rows: npt.NDArray[np.float32], stop: str) -> GraphOutputs:
        count, keypoints = len(rows), 2 * len(self.keypoint_set)
        shape_count = self._engines.row_size - (2 + 216 + 3 + keypoints + 3)
        sizes = np.cumsum([1, 1, 216, shape_count, 3, keypoints, 1])
        losses, _, rotations, betas, *rest = np.split(rows, sizes, axis=1)
        translation, points, focal_length, principal_point = rest
        return GraphOutputs(
            losses=losses[:, 0],
            step_rotations=rotations.reshape(count, 24, 3, 3),
            step_betas=betas,
            step_translation=translation,
            step_keypoints=points.reshape(count, -1, 2),
            camera_focal_length=focal_length[:, 0],
            camera_principal_point=principal_point,
            stop=np.array(STOP_REASONS.index(stop)),
        )


def open_adaptation_steps(
    bundle: Bundle,
    device: str,
    options: EngineOptions,
    *,
    open_engines: Callable[..., tuple[Steps, str]] = open_step_engines,
) -> AdaptationSteps:
    """A bundle's graphs in TensorRT; builds the engines where they are not built yet.

    Raises FileNotFoundError for a bundle without the graphs, ValueError for damaged ones,
    ImportError without TensorRT, RuntimeError where it does not run on `device`.
    """
    files = [name for name in ADAPTATION_STEPS if name in bundle.manifest.files]
    if ADAPTATION_START not in bundle.manifest.files or not files:
        raise FileNotFoundError(
            f"bundle {bundle.folder} comes without {ADAPTATION_START} and its steps, which "
            "TensorRT adapts by; export it again with --step-graphs"
        )
    paths = [bundle.path(name) for name in (ADAPTATION_START, *files)]
    for path in paths:
        check_onnx(path)
    schedule, keypoint_set = _read_facts(bundle, paths)
    engines, runs_on = open_engines(paths, device=device, options=options)
    return AdaptationSteps(engines, schedule, keypoint_set, path=paths[0], runs_on=runs_on)


def _read_facts(bundle: Bundle, paths: list[Path]) -> tuple[Schedule, KeypointSet]:
    path, facts = paths[0], onnx_metadata(paths[0])
    with one_value_error(path, "not a graph of an adaptation", advice="export it again"):
        name = check_schedule_name(facts.get(SCHEDULE, ""))
        schedule = bundle.manifest.schedule.schedule(name, weights=bundle.manifest.weights)
        if len(schedule.phases) != len(paths) - 1:
            raise ValueError(
                f"the bundle has graphs of {len(paths) - 1} phases, schedule {name!r} has "
                f"{len(schedule.phases)}"
            )
        return schedule, keypoint_set_of(path.name, facts.get(KEYPOINTS, ""))


class TensorRTFitter(OnnxFitter):
    """A `PersonFitter` that adapts the head in TensorRT, by the schedule of the export."""

    def _open(self, bundle: Bundle, device: str, options: EngineOptions) -> AdaptationSteps:
        return open_adaptation_steps(bundle, device, options)
