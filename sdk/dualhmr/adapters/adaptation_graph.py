"""A bundle's `adaptation.onnx`: the whole adaptation of one person by one schedule, as a graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from dualhmr.engines import EngineOptions
from dualhmr.engines.onnxruntime_session import load_onnxruntime, open_session
from dualhmr.engines.providers import provider_for
from dualhmr.keypoints import KeypointSet
from dualhmr.mesh import FloatArray
from dualhmr.schedules import CONVERGED, NON_FINITE, OUT_OF_STEPS

STOP_REASONS = (OUT_OF_STEPS, CONVERGED, NON_FINITE)
"""What the numbers of `GraphOutputs.stop` mean."""
SCHEDULE, KEYPOINTS = "schedule", "keypoints"
"""Names of the file's metadata: the schedule's, and those of the keypoints, between commas."""


class GraphOutputs(NamedTuple):
    """What the graph puts out, by name: the start, then every step; S in all."""

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
    """() int64, a place in `STOP_REASONS`."""


class AdaptationGraph:
    """The file, opened in ONNX Runtime on the CPU or on the GPU of `device`."""

    def __init__(self, path: Path, *, device: str, options: EngineOptions) -> None:
        """Raises ImportError without ONNX Runtime, and ValueError for a file that is no such graph.

        Of `options` it reads the threads.
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
        """Adapts to one person; of `inputs` it takes those that are in `reads`.

        Raises ValueError where one of them is missing.
        """
        missing = [name for name in self.reads if name not in inputs]
        if missing:
            raise ValueError(
                f"{self._path} reads {', '.join(missing)}, which this dualhmr does not know; "
                "export the bundle again, or install a newer dualhmr"
            )
        given = {name: inputs[name] for name in self.reads}
        return GraphOutputs(*self._session.run(GraphOutputs._fields, given))
