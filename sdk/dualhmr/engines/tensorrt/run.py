"""Frozen networks in TensorRT."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.engines.frozen_network import DEFAULT_MAX_BATCH, EngineOptions
from dualhmr.engines.tensorrt.build import Report, profile_up_to
from dualhmr.engines.tensorrt.cache import AS_EXPORTED, CachedEngine, cached_engine, engine_folders
from dualhmr.engines.tensorrt.library import (
    Library,
    find_gpu,
    listening,
    load_library,
    logger_of,
    why_unavailable,
)
from dualhmr.engines.tensorrt.memory import DeviceMemory, device_memory


def batch_size(inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    """The number of persons, which every input has first; ValueError where they disagree."""
    sizes = {name: len(value) for name, value in inputs.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"every input holds the same persons, but their numbers are {sizes}")
    return next(iter(sizes.values()))


def in_batches(
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, Any]],
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    largest: int,
    join: Callable[[Sequence[Any]], Any],
) -> dict[str, Any]:
    """What `run(inputs)` gives, from parts of at most `largest` persons that `join` puts together.

    `join` concatenates arrays along their first dimension; it is not called for a single part.
    """
    persons = batch_size(inputs)
    if persons <= largest:
        return dict(run(inputs))
    parts = [
        run({name: value[start : start + largest] for name, value in inputs.items()})
        for start in range(0, persons, largest)
    ]
    return {name: join([part[name] for part in parts]) for name in parts[0]}


_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine; -1 in its shape is the number of persons."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name, or "bfloat16"."""

    def shape_for(self, persons: int) -> tuple[int, ...]:
        """The shape for a number of persons."""
        return tuple(persons if size == -1 else size for size in self.shape)

    def checked(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`value` as contiguous memory; TypeError or ValueError if it is not for this input."""
        if str(value.dtype) != self.dtype:
            raise TypeError(f"input {self.name!r} is {value.dtype}; the engine reads {self.dtype}")
        if value.shape != self.shape_for(len(value) if value.ndim else 0):
            raise ValueError(
                f"input {self.name!r} has the shape {value.shape}; the engine reads {self.shape}, "
                "where -1 is the number of persons"
            )
        # Writeable, because PyTorch warns of arrays that are not.
        return np.require(value, requirements=["C", "W"])


def tensors_of(trt: Any, engine: Any) -> tuple[list[Tensor], list[Tensor]]:
    """An engine's inputs and outputs. ValueError for one of a type that is not ours."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _TYPES:
            raise ValueError(f"{name!r} is of type {kind}; known are {', '.join(_TYPES)}")
        tensor = Tensor(name, tuple(engine.get_tensor_shape(name)), _TYPES[kind])
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(tensor)
    return inputs, outputs


_Values = Mapping[str, npt.NDArray[Any]]


@dataclass
class _Prepared:
    """A context with buffers of its own, for one number of persons, and what runs it."""

    context: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    run: Callable[[], None] | None = None


class EngineRunner:
    """Calls an engine with arrays of the host; results stay on the GPU. One call at a time."""

    def __init__(self, trt: Any, engine: Any, memory: DeviceMemory, *, cuda_graph: bool) -> None:
        """`trt`: the library's module. `cuda_graph`: whether to replay each number of persons.

        Raises ValueError for an engine with tensors of a type that is not ours.
        """
        self._trt = trt
        self._engine = engine
        self._memory = memory
        self._cuda_graph = cuda_graph
        self.inputs, self._outputs = tensors_of(trt, engine)
        self._types = {tensor.name: tensor.dtype for tensor in self._outputs}
        self._context = None if cuda_graph else self._new_context()
        self._prepared: dict[int, _Prepared] = {}
        self._lock = threading.Lock()

    def __call__(self, inputs: _Values) -> dict[str, Any]:
        """Inputs by name to outputs by name, which are new arrays of the GPU.

        Raises ValueError for shapes and TypeError for types that are not the engine's, RuntimeError
        where it fails.
        """
        given = {tensor.name: tensor.checked(inputs[tensor.name]) for tensor in self.inputs}
        persons = batch_size(given)
        with self._lock, self._memory.on_device():
            if persons == 0:
                shapes = {tensor.name: tensor.shape_for(0) for tensor in self._outputs}
                return self._empty(shapes)
            if self._cuda_graph:
                return self._replayed(given, persons)
            return self._executed(given)

    def _executed(self, given: _Values) -> dict[str, Any]:
        buffers, outputs = self._buffers(self._context, given)
        with self._memory.on_stream() as stream:
            self._fill(buffers, given)
            self._execute(self._context, stream)
        return outputs

    def _replayed(self, given: _Values, persons: int) -> dict[str, Any]:
        if persons not in self._prepared:
            # A context each: a graph is void once the context that it was captured from changes.
            context = self._new_context()
            self._prepared[persons] = _Prepared(context, *self._buffers(context, given))
        prepared = self._prepared[persons]
        results = self._empty({name: buffer.shape for name, buffer in prepared.outputs.items()})
        with self._memory.on_stream() as stream:
            self._fill(prepared.inputs, given)
            if prepared.run is None:
                prepared.run = self._warmed_up(prepared.context, stream)
            prepared.run()
            for name, result in results.items():
                self._memory.copy(prepared.outputs[name], result)
        return results

    def _warmed_up(self, context: Any, stream: int) -> Callable[[], None]:
        def execute() -> None:
            self._execute(context, stream)

        if self._captures_by_itself:
            return execute
        execute()  # what new shapes require is done here, and so stays out of the graph
        return self._memory.capture(execute)

    @property
    def _captures_by_itself(self) -> bool:
        """RTX does, once its kernels for a shape are compiled, which is not for us to know."""
        return hasattr(self._trt, "CudaGraphStrategy")

    def _new_context(self) -> Any:
        with listening(self._trt) as messages:
            if self._cuda_graph and self._captures_by_itself:
                config = self._engine.create_runtime_config()
                config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
                context = self._engine.create_execution_context(config)
            else:
                context = self._engine.create_execution_context()
            if context is None:
                raise RuntimeError(
                    f"TensorRT cannot start the engine: {messages.quoted()}; if that is for want "
                    "of memory, open it with a smaller max_batch"
                )
        return context

    def _buffers(self, context: Any, given: _Values) -> tuple[dict[str, Any], dict[str, Any]]:
        """Memory for these inputs and their outputs, known to the context."""
        types = {tensor.name: tensor.dtype for tensor in self.inputs}
        buffers = {name: self._memory.empty(x.shape, types[name]) for name, x in given.items()}
        for name, value in given.items():
            if not context.set_input_shape(name, value.shape):
                raise ValueError(f"TensorRT refuses {name!r} of the shape {value.shape}")
        outputs = self._empty({name: tuple(context.get_tensor_shape(name)) for name in self._types})
        for name, buffer in (buffers | outputs).items():
            if not context.set_tensor_address(name, self._memory.address(buffer)):
                raise RuntimeError(f"TensorRT refuses the memory of {name!r}")
        return buffers, outputs

    def _execute(self, context: Any, stream: int) -> None:
        with listening(self._trt) as messages:
            if not context.execute_async_v3(stream):
                raise RuntimeError(f"TensorRT could not run the engine: {messages.quoted()}")

    def _fill(self, buffers: dict[str, Any], given: _Values) -> None:
        for name, buffer in buffers.items():
            self._memory.fill(buffer, given[name])

    def _empty(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        return {
            name: self._memory.empty(shape, self._types[name]) for name, shape in shapes.items()
        }


class TensorRTNetwork:
    """An ONNX file, run by TensorRT on one GPU. Outputs are torch tensors, or CuPy arrays, there.

    Both speak DLPack. A call returns before the GPU is done; whoever goes on working with the
    outputs on the stream that was current at the call, as PyTorch and CuPy do, need not care.
    """

    def __init__(
        self,
        onnx_path: Path,
        *,
        device: str = "cuda",
        options: EngineOptions | None = None,
        precision: str = AS_EXPORTED,
        progress: Report | None = None,
    ) -> None:
        """Loads the engine of `onnx_path`, which is built first unless it was before: minutes.

        `options`: max_batch, cuda_graph and cache_folder are read. `precision`: a label that has to
        be the one that a prebuilt engine was made with. `progress`: is told how a build goes.

        Raises RuntimeError where TensorRT is not to be had on `device`, ValueError for a graph that
        is damaged or not for TensorRT, and FileNotFoundError.
        """
        options = options or EngineOptions()
        if reason := why_unavailable(device):
            raise RuntimeError(reason)
        gpu = find_gpu(device)
        assert gpu is not None, "why_unavailable has found it"
        library = load_library()
        profile = profile_up_to(options.max_batch or DEFAULT_MAX_BATCH)
        self._memory = device_memory(gpu)
        with self._memory.on_device():
            found = cached_engine(
                onnx_path,
                library=library,
                profile=profile,
                capability=gpu.capability,
                gpu_name=gpu.name,
                folders=engine_folders(onnx_path, options.cache_folder),
                precision=precision,
                progress=progress,
            )
            # The runtime has to outlive the engine.
            self._runtime, engine = _deserialised(library, found)
            self._runner = EngineRunner(
                library.module, engine, self._memory, cuda_graph=options.cuda_graph
            )
        self._largest = profile.max_batch
        self._runs_on = f"{library.name} {library.version} {gpu.name} ({gpu.capability})"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(tensor.name for tensor in self._runner.inputs)

    @property
    def runs_on(self) -> str:
        """Library, version and GPU."""
        return self._runs_on

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Inputs by name, persons first, to outputs by name, on the GPU.

        More persons than the engine takes at once are run in parts. Raises ValueError for missing
        inputs and wrong shapes, TypeError for wrong types.
        """
        missing = [name for name in self.reads if name not in inputs]
        if missing:
            raise ValueError(f"missing inputs {missing}; this network reads {list(self.reads)}")
        given = {name: inputs[name] for name in self.reads}
        return in_batches(self._runner, given, largest=self._largest, join=self._memory.join)


def _deserialised(library: Library, found: CachedEngine) -> tuple[Any, Any]:
    trt = library.module
    with listening(trt) as messages:
        runtime = trt.Runtime(logger_of(trt))
        engine = runtime.deserialize_cuda_engine(found.engine)
        if engine is None:
            where = f"; delete {found.path} to have it built again" if found.path else ""
            raise RuntimeError(
                f"{library.name} {library.version} cannot load its engine: "
                f"{messages.quoted()}{where}"
            )
    return runtime, engine
