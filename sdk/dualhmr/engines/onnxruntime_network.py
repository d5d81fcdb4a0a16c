"""Frozen networks in ONNX Runtime."""

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import torch_installed
from dualhmr.engines.frozen_network import Arrays, EngineOptions, Provider, provider_for
from dualhmr.engines.onnxruntime_session import load_onnxruntime, open_session

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}


class TensorSpec(NamedTuple):
    """One input or output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of one person."""

    @property
    def axes(self) -> str:
        """The shape of N persons, for people."""
        return f"({', '.join(['N', *map(str, self.shape)])})"


def tensor_spec(node: Any) -> TensorSpec:
    """That of a session's input or output.

    Raises ValueError for another type, or unless the persons' axis, and only it, is open.
    """
    first, *rest = node.shape or [0]
    if isinstance(first, int) or not all(isinstance(size, int) for size in rest):
        raise ValueError(
            f"{node.name} has the shape {node.shape}; expected an open first axis, the persons, "
            "and fixed others"
        )
    if node.type not in _TYPES:
        raise ValueError(f"{node.name} is a {node.type}; expected one of {', '.join(_TYPES)}")
    return TensorSpec(node.name, np.dtype(_TYPES[node.type]), tuple(rest))


def checked(
    inputs: Mapping[str, npt.NDArray[Any]], specs: Sequence[TensorSpec]
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The inputs that a network reads, in one piece each, and how many persons they hold.

    Raises TypeError for a wrong type, ValueError for what is missing or of another shape.
    """
    missing = [spec.name for spec in specs if spec.name not in inputs]
    if missing:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"missing inputs {', '.join(missing)}; this network reads {names}")
    arrays = {spec.name: np.ascontiguousarray(inputs[spec.name]) for spec in specs}
    for spec, array in zip(specs, arrays.values(), strict=True):
        if array.dtype != spec.dtype:
            raise TypeError(f"input {spec.name} is {array.dtype}, expected {spec.dtype}")
        if array.shape[1:] != spec.shape:
            raise ValueError(f"input {spec.name} has the shape {array.shape}, expected {spec.axes}")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"every input holds the same persons, but their numbers are {counts}")
    return arrays, next(iter(counts.values()))


class ResultMemory(Protocol):
    """Arrays that a session writes into."""

    kind: str
    """What ONNX Runtime calls the device."""
    index: int

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """A contiguous array with anything in it."""
        ...

    def address(self, array: Any) -> int:
        """Where the array begins."""
        ...

    def wait(self) -> None:
        """Returns when nobody uses the memory of new arrays any more."""
        ...


class HostMemory:
    """Arrays are NumPy's."""

    kind, index = "cpu", 0

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """See `ResultMemory`."""
        return np.empty(shape, dtype)

    def address(self, array: npt.NDArray[Any]) -> int:
        """See `ResultMemory`."""
        return int(array.ctypes.data)

    def wait(self) -> None:
        """See `ResultMemory`."""


class TorchGpuMemory:
    """Arrays are tensors on a GPU."""

    kind = "cuda"

    def __init__(self, index: int) -> None:
        self.index = index
        self._torch: Any = importlib.import_module("torch")
        self._device = self._torch.device("cuda", index)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """See `ResultMemory`."""
        kind = getattr(self._torch, dtype.name)
        return self._torch.empty(tuple(shape), dtype=kind, device=self._device)

    def address(self, array: Any) -> int:
        """See `ResultMemory`."""
        return int(array.data_ptr())

    def wait(self) -> None:
        """See `ResultMemory`."""
        # PyTorch may yet have work queued on memory that it handed out again.
        self._torch.cuda.current_stream(self._device).synchronize()


def result_memory(index: int | None) -> ResultMemory:
    """That of GPU number `index`, or the host's for None and where no PyTorch sees the GPU."""
    if index is None or not torch_installed():
        return HostMemory()
    torch = importlib.import_module("torch")
    return TorchGpuMemory(index) if torch.cuda.is_available() else HostMemory()


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
