"""Frozen networks in ONNX Runtime."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dualhmr.engines.onnxruntime_memory import result_memory
from dualhmr.engines.onnxruntime_session import load_onnxruntime, open_session
from dualhmr.engines.options import EngineOptions
from dualhmr.engines.protocol import Arrays
from dualhmr.engines.providers import Provider, provider_for
from dualhmr.engines.tensor_spec import TensorSpec, checked, tensor_spec

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
        """Loads the graph into the provider that `options` name, or else that of `device`.

        Where the device chose and its provider is not to be had, the CPU's is taken, which
        `runs_on` says, and a warning. Raises ImportError without ONNX Runtime, ValueError for a
        file it cannot load, RuntimeError where a provider that was asked for by name cannot be
        used, or has no kernels for a graph of `precision`.
        """
        options = options or EngineOptions()
        asked = provider_for(options.provider, device)
        index = int(device.partition(":")[2] or 0)
        self._version = load_onnxruntime().__version__
        self._session = open_session(
            path, asked, device_index=index, options=options, precision=precision
        )
        self._asked, self._used = asked.name, self._session.get_providers()[0]
        if self._used != asked.name:
            if options.provider is not None:
                raise RuntimeError(_not_used(asked, self._used))
            _log.warning("%s: %s", path.name, _not_used(asked, self._used))
        try:
            self._inputs = [tensor_spec(node) for node in self._session.get_inputs()]
            self._outputs = [tensor_spec(node) for node in self._session.get_outputs()]
        except ValueError as error:
            raise ValueError(f"{path}: {error}; export it again") from error
        on_gpu = asked.on_gpu and self._used == asked.name and device != "cpu"
        self._memory = result_memory(index if on_gpu else None)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(spec.name for spec in self._inputs)

    @property
    def runs_on(self) -> str:
        """Engine, version, the execution provider in use, and the one asked for if another."""
        asked = "" if self._used == self._asked else f" (asked for {self._asked})"
        return f"onnxruntime {self._version} {self._used}{asked}"

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to outputs by name.

        Raises TypeError for an input of another type, ValueError for one that is missing or of
        another shape.
        """
        arrays, persons = checked(inputs, self._inputs)
        outputs = {
            spec.name: self._memory.empty((persons, *spec.shape), spec.dtype)
            for spec in self._outputs
        }
        if persons:
            self._run(arrays, outputs)
        return outputs

    def _run(self, arrays: dict[str, npt.NDArray[Any]], outputs: dict[str, Any]) -> None:
        """Fills `outputs`, which are where the session leaves its results: nothing is copied."""
        binding = self._session.io_binding()
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        for spec in self._outputs:
            self._bind_output(binding, spec, outputs[spec.name])
        self._memory.wait()
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def _bind_output(self, binding: Any, spec: TensorSpec, buffer: Any) -> None:
        binding.bind_output(
            spec.name,
            self._memory.kind,
            self._memory.index,
            spec.dtype.type,
            tuple(buffer.shape),
            self._memory.address(buffer),
        )


def _not_used(asked: Provider, used: str) -> str:
    return (
        f"{asked.name} was asked for, but this ONNX Runtime runs on {used}; to change that, "
        f"{asked.install}"
    )
