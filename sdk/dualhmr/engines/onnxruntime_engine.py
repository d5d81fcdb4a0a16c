"""Frozen networks in ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.engines.protocol import Arrays

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3


class OnnxRuntimeNetwork:
    """An ONNX file, run by ONNX Runtime on one device."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        """Loads the graph.

        Raises ImportError without ONNX Runtime, ValueError for a file it cannot load, and
        RuntimeError where the device was asked for and ONNX Runtime does not run on it.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                "ONNX Runtime is not installed: pip install onnxruntime (or onnxruntime-gpu)"
            ) from error
        kind, _, index = device.partition(":")
        provider = _PROVIDERS.get(kind)
        if provider is None:
            raise ValueError(
                f"ONNX Runtime runs on {', '.join(_PROVIDERS)} here, not on {device!r}"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        settings = {"device_id": int(index)} if index and kind == "cuda" else {}
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(_unavailable(device, onnxruntime.get_available_providers()))
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[(provider, settings)]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise ValueError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        used = self._session.get_providers()
        if used[0] != provider:
            raise RuntimeError(_unavailable(device, used))
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._version = onnxruntime.__version__

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(node.name for node in self._session.get_inputs())

    @property
    def runs_on(self) -> str:
        """Engine, version and the execution provider in use."""
        return f"onnxruntime {self._version} {self._session.get_providers()[0]}"

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to outputs by name; ValueError names missing ones."""
        missing = [name for name in self.reads if name not in inputs]
        if missing:
            raise ValueError(f"missing inputs {missing}; this network reads {list(self.reads)}")
        feed = {name: np.ascontiguousarray(inputs[name]) for name in self.reads}
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))


def _unavailable(device: str, providers: list[str]) -> str:
    return (
        f"device {device!r} was asked for, but this ONNX Runtime runs on {', '.join(providers)}; "
        "install onnxruntime-gpu with its CUDA libraries, or leave the device out"
    )
