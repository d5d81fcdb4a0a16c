"""A bundle's `adaptation.onnx` in ONNX Runtime: what it has to be, and what it returns."""

import math
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import (
    SCHEDULE_NAMES,
    STOP_REASONS,
    WITHIN_PHASE,
    NonFiniteError,
)
from dualhmr.engines import EngineOptions
from dualhmr.engines.frozen_network import provider_for
from dualhmr.engines.onnxruntime_session import load_onnxruntime, open_session, run_session
from dualhmr.keypoints import KeypointSet
from dualhmr.person import FloatArray
from dualhmr.untrusted import brief, one_value_error

SCHEDULE, KEYPOINTS, STOP_RULE = "schedule", "keypoints", "stop_rule"
"""Keys of the file's metadata: the name of the schedule, those of the keypoints, by commas, and the
schedule's rule to stop, which older files lack: `within_phase`."""


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


_MOST_KEYPOINTS = 1000
# Shapes by name; K keypoints, S rows, and lengths that are not known here.
_INPUTS: dict[str, tuple[int | str, ...]] = {
    "features": (1, "F"),
    "box_info": (1, 3),
    "keypoints": (1, "K", 2),
    "confidence": (1, "K"),
    "rotations": (1, 24, 3, 3),
    "betas": (1, 10),
    "max_steps": (),
    "box_center": (1, 2),
    "box_height": (1,),
    "focal_length": (1,),
    "principal_point": (1, 2),
}
_OUTPUTS: dict[str, tuple[int | str, ...]] = {
    "losses": ("S",),
    "step_rotations": ("S", 24, 3, 3),
    "step_betas": ("S", 10),
    "step_translation": ("S", 3),
    "step_keypoints": ("S", "K", 2),
    "camera_focal_length": ("S",),
    "camera_principal_point": ("S", 2),
    "stop": (),
}


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
        self.stop_rule = metadata.get(STOP_RULE, WITHIN_PHASE)
        self._path = path
        with one_value_error(path, "not a graph of an adaptation", advice="export it again"):
            check_schedule_name(self.schedule)
            self.keypoint_set = keypoint_set_of(path.name, metadata[KEYPOINTS])
            for node in self._session.get_inputs():
                self._check_description(node, _INPUTS)
            for node in self._session.get_outputs():
                self._check_description(node, _OUTPUTS)

    @property
    def runs_on(self) -> str:
        """Engine, version and execution provider."""
        return f"onnxruntime {load_onnxruntime().__version__} {self._session.get_providers()[0]}"

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> GraphOutputs:
        """Adapts to one person, with those of `inputs` that are in `reads`.

        Raises ValueError where one of them is missing, or the outputs are not what they have to
        be; NonFiniteError for a loss at the start that is not finite; RuntimeError where ONNX
        Runtime fails.
        """
        check_inputs_known(self.reads, inputs, self._path)
        arrays = {name: inputs[name] for name in self.reads}
        outputs = GraphOutputs(
            *run_session(self._path, self._session.run, GraphOutputs._fields, arrays)
        )
        check_outputs(outputs, self._path, int(inputs["max_steps"]), len(self.keypoint_set))
        return outputs

    def _check_description(self, node: Any, known: Mapping[str, tuple[int | str, ...]]) -> None:
        """What the file says of an input or output; lengths may be left open there."""
        expected = [
            len(self.keypoint_set) if length == "K" else length
            for length in known.get(node.name, node.shape)
        ]
        kind = "tensor(int64)" if node.name in ("stop", "max_steps") else "tensor(float)"
        fits = len(node.shape) == len(expected) and not any(
            isinstance(length, int) and isinstance(own, int) and own != length
            for own, length in zip(node.shape, expected, strict=True)
        )
        if node.name in known and not (fits and node.type == kind):
            raise ValueError(
                f"{node.name} is a {node.type} of shape {brief(node.shape)}, expected a {kind} of "
                f"shape {expected}"
            )


def check_inputs_known(reads: Iterable[str], inputs: Container[str], path: Path) -> None:
    """Raises ValueError for a name in `reads` that is not in `inputs`."""
    missing = [name for name in reads if name not in inputs]
    if missing:
        raise ValueError(
            f"{path} reads {', '.join(missing)}, which this dualhmr does not know; "
            "export the bundle again, or install a newer dualhmr"
        )


def check_outputs(outputs: GraphOutputs, path: Path, max_steps: int, keypoints: int) -> None:
    """Raises ValueError unless they are what a graph of `keypoints` gives for that many steps.

    NonFiniteError for a loss at the start that is not finite.
    """

    def wrong(problem: str) -> ValueError:
        return ValueError(f"{path} {problem}; export the bundle again")

    rows = outputs.losses.size
    if not 1 <= rows <= max_steps + 1:
        raise wrong(f"gives {rows} losses for at most {max_steps} steps and the start")
    for name, output in outputs._asdict().items():
        lengths = {"S": rows, "K": keypoints}
        expected = tuple(
            lengths[length] if isinstance(length, str) else length for length in _OUTPUTS[name]
        )
        if output.shape != expected:
            raise wrong(f"gives {name} of shape {output.shape}, expected {expected}")
    if not math.isfinite(start := float(outputs.losses[0])):
        raise NonFiniteError(f"the loss or its gradient is {start} before the first step")
    for name, output in outputs._asdict().items():
        # Keypoints that the body does not have are NaN.
        valid = ~np.isinf(output) if name == "step_keypoints" else np.isfinite(output)
        if not valid.all():
            raise wrong(f"gives {name} that are not finite numbers")
    if not 0 <= outputs.stop < len(STOP_REASONS):
        raise wrong(f"stops for the reason {int(outputs.stop)}, which does not exist")
    if not (outputs.camera_focal_length > 0).all():
        raise wrong("gives a focal length that is not positive")


def check_schedule_name(name: str) -> str:
    """`name`, where it is of `SCHEDULE_NAMES`; else ValueError."""
    if name not in SCHEDULE_NAMES:
        known = ", ".join(SCHEDULE_NAMES)
        raise ValueError(f"unknown schedule {brief(name)}; known are {known}")
    return name


def keypoint_set_of(name: str, names: str) -> KeypointSet:
    """From names separated by commas, each of them once."""
    parts = tuple(names.split(","))
    if not all(parts) or len(parts) > _MOST_KEYPOINTS:
        raise ValueError(f"its keypoints are {brief(names)}, expected names")
    return KeypointSet(name, parts)
