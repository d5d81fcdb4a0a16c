"""Frozen networks in ONNX Runtime."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import torch_installed
from dualhmr.engines.frozen_network import (
    Arrays,
    EngineOptions,
    Provider,
    TensorSpec,
    check_inputs,
    provider_for,
)
from dualhmr.engines.onnxruntime_session import (
    available_providers,
    clashing_packages,
    load_onnxruntime,
    open_session,
    run_session,
)

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}
_log = logging.getLogger("dualhmr")


class OnnxRuntimeNetwork:
    """An ONNX file, run by ONNX Runtime; with PyTorch, outputs stay on the GPU of `device`."""

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        options: EngineOptions | None = None,
        precision: str = "fp32",
    ) -> None:
        """Loads the graph into the provider of `options`, or for None into that of `device`.

        Without a provider in `options`, the CPU's takes the place of one that is not available;
        a warning in the log and `runs_on` say so. Raises ImportError without ONNX Runtime,
        ValueError for a file that it cannot load, RuntimeError where a provider of `options` cannot
        be used, or has no kernels for a graph of `precision`.
        """
        options = options or EngineOptions()
        self._path = path
        requested = provider_for(options.provider, device)
        gpu_index = int(device.partition(":")[2] or 0)
        self._version = load_onnxruntime().__version__
        self._session = open_session(
            path, requested, device_index=gpu_index, options=options, precision=precision
        )
        self._requested, self._used = requested.name, self._session.get_providers()[0]
        if self._used != requested.name:
            if options.provider is not None:
                raise RuntimeError(_not_used(requested, self._used))
            _log.warning("%s: %s", path.name, _not_used(requested, self._used))
        try:
            self.inputs, self.outputs = (
                [TensorSpec.of(node.name, node.type, node.shape, _TYPES) for node in nodes]
                for nodes in (self._session.get_inputs(), self._session.get_outputs())
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}; export it again") from error
        on_gpu = requested.on_gpu and self._used == requested.name and device != "cpu"
        self._gpu_index = gpu_index if on_gpu and _torch_sees_gpu() else None

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def runs_on(self) -> str:
        """Engine, version, the execution provider in use, and the requested one if another."""
        requested = "" if self._used == self._requested else f" (asked for {self._requested})"
        return f"onnxruntime {self._version} {self._used}{requested}"

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to outputs by name.

        Raises TypeError for an input of another type, ValueError for one that is missing or of
        another shape, RuntimeError where ONNX Runtime fails.
        """
        arrays, persons = check_inputs(inputs, self.inputs)
        outputs = {
            spec.name: self._empty((persons, *spec.shape), spec.dtype) for spec in self.outputs
        }
        if persons:
            self._run(arrays, outputs)
        return outputs

    def _run(self, arrays: dict[str, npt.NDArray[Any]], outputs: dict[str, Any]) -> None:
        """Fills `outputs`: the session writes into their memory, and nothing is copied."""
        binding = self._session.io_binding()
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        on_gpu = self._gpu_index is not None
        for spec in self.outputs:
            buffer = outputs[spec.name]
            binding.bind_output(
                spec.name,
                "cuda" if on_gpu else "cpu",
                self._gpu_index or 0,
                spec.dtype.type,
                tuple(buffer.shape),
                buffer.data_ptr() if on_gpu else buffer.ctypes.data,
            )
        if on_gpu:
            # ONNX Runtime works on a stream of its own, and PyTorch may still have work queued on
            # memory that it has just reused for the outputs.
            importlib.import_module("torch").cuda.current_stream(self._gpu_index).synchronize()
        binding.synchronize_inputs()
        run_session(self._path, self._session.run_with_iobinding, binding)
        binding.synchronize_outputs()

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        if self._gpu_index is None:
            return np.empty(shape, dtype)
        torch = importlib.import_module("torch")
        return torch.empty(
            shape, dtype=getattr(torch, dtype.name), device=f"cuda:{self._gpu_index}"
        )


def _torch_sees_gpu() -> bool:
    return torch_installed() and bool(importlib.import_module("torch").cuda.is_available())


def _not_used(requested: Provider, used: str) -> str:
    clash = clashing_packages()
    if clash:
        return f"{requested.name} was asked for, but this ONNX Runtime runs on {used}: {clash}"
    listed = requested.name in available_providers(load_onnxruntime())
    if listed and requested.libraries:
        return (
            f"{requested.name} was asked for; this ONNX Runtime has it, but could not load it, and "
            f"runs on {used}: {requested.libraries}"
        )
    return (
        f"{requested.name} was asked for, but this ONNX Runtime runs on {used}; to change that, "
        f"{requested.install}"
    )
