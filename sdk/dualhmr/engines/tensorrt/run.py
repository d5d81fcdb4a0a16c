"""Runs a frozen network in TensorRT."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dualhmr.engines.frozen_network import (
    DEFAULT_MAX_BATCH,
    EngineOptions,
    TensorSpec,
    check_inputs,
)
from dualhmr.engines.tensorrt.build import profile_for
from dualhmr.engines.tensorrt.cache import cached_engine, engine_folders
from dualhmr.engines.tensorrt.compiled_kernels import CompiledKernels
from dualhmr.engines.tensorrt.library import Gpu, Library, library_and_gpu, listening, logger_of
from dualhmr.engines.tensorrt.memory import DeviceMemory, device_memory

_TYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT64": "int64"}
_Inputs = dict[str, npt.NDArray[Any]]


class TensorRTNetwork:
    """An ONNX file, run by TensorRT on one GPU. Outputs are torch tensors, or CuPy arrays, there.

    A call returns before the GPU is done. Later work on the stream that was current at the call, as
    PyTorch and CuPy queue it, waits for the outputs by itself.
    """

    def __init__(
        self, onnx_path: Path, *, device: str = "cuda", options: EngineOptions | None = None
    ) -> None:
        """Loads the engine of `onnx_path`; if there is none yet, builds it, which takes minutes.

        Of `options` it reads max_batch, cuda_graph, tf32 and cache_folder.

        Raises ImportError without TensorRT, RuntimeError where it does not run on `device`,
        ValueError for a graph that is damaged or that TensorRT cannot run, and FileNotFoundError.
        """
        options = options or EngineOptions()
        library, gpu = library_and_gpu(device)
        max_batch = options.max_batch or DEFAULT_MAX_BATCH
        memory = device_memory(gpu)
        with memory.on_device():
            self._loaded = load_engine(
                onnx_path, library=library, gpu=gpu, max_batch=max_batch, options=options
            )
            self._runner = EngineRunner(
                library.module,
                self._loaded.engine,
                memory,
                max_batch=max_batch,
                cuda_graph=bool(options.cuda_graph),
                kernels=self._loaded.kernels,
            )
        self.inputs, self.outputs = self._runner.inputs, self._runner.outputs
        self._runs_on = f"{library} {gpu.name} ({gpu.capability})"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(spec.name for spec in self._runner.inputs)

    @property
    def runs_on(self) -> str:
        """Library, version and GPU."""
        return self._runs_on

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Inputs by name, persons first, to outputs by name, on the GPU.

        Raises ValueError for missing inputs and wrong shapes, TypeError for wrong types.
        """
        return self._runner(inputs)


@dataclass(frozen=True)
class LoadedEngine:
    """An engine on the GPU."""

    runtime: Any
    """Has to outlive the engine."""
    engine: Any
    kernels: CompiledKernels | None
    """None with TensorRT proper, whose engines hold finished kernels."""


def load_engine(
    onnx_path: Path, *, library: Library, gpu: Gpu, max_batch: int, options: EngineOptions
) -> LoadedEngine:
    """The engine of an ONNX file, built where there is none; see `TensorRTNetwork`."""
    folders = engine_folders(onnx_path, options.cache_folder)
    content, path = cached_engine(
        onnx_path,
        library=library,
        max_batch=max_batch,
        capability=gpu.capability,
        gpu_name=gpu.name,
        folders=folders,
        tf32=options.tf32,
    )
    with listening(library.module) as messages:
        runtime = library.module.Runtime(logger_of(library.module))
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            hint = f"; delete {path} to build it again" if path else ""
            raise RuntimeError(f"{library} cannot load its engine: {messages.quoted()}{hint}")
    kernels = None
    if library.compiles_when_run:
        kernels = CompiledKernels(folders[-1], onnx_path.stem, content, gpu_name=gpu.name)
    return LoadedEngine(runtime, engine, kernels)


@dataclass
class _Captured:
    """A context with its own buffers for one batch size; `replay` is None before its first run."""

    context: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    replay: Callable[[], None] | None = None


def captures_by_itself(trt: Any) -> bool:
    """RTX captures a graph itself, when it has compiled its kernels for a shape."""
    return hasattr(trt, "CudaGraphStrategy")


def new_context(trt: Any, engine: Any, *, cuda_graph: bool, kernels: CompiledKernels | None) -> Any:
    """An execution context of `engine`. Raises RuntimeError where there is no memory for it."""
    capturing = cuda_graph and captures_by_itself(trt)
    with listening(trt) as messages:
        if capturing or kernels is not None:
            config = engine.create_runtime_config()
            if capturing:
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            if kernels is not None:
                kernels.attach(config)
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise RuntimeError(
                f"TensorRT cannot start the engine: {messages.quoted()}; if it is out of "
                "memory, open it with a smaller max_batch"
            )
    return context


def enqueue(trt: Any, context: Any, stream: int) -> None:
    """Queues one run of the engine. Raises RuntimeError where that fails."""
    with listening(trt) as messages:
        if not context.execute_async_v3(stream):
            raise RuntimeError(f"TensorRT could not run the engine: {messages.quoted()}")


class EngineRunner:
    """Calls an engine with arrays of the host; results stay on the GPU. One call at a time."""

    def __init__(
        self,
        trt: Any,
        engine: Any,
        memory: DeviceMemory,
        *,
        max_batch: int,
        cuda_graph: bool,
        kernels: CompiledKernels | None = None,
    ) -> None:
        """`trt`: the library's module. `cuda_graph`: whether to capture one for each batch size.

        Larger batches than `max_batch` are split. Raises ValueError for an engine with inputs or
        outputs that a frozen network does not have.
        """
        self._trt, self._engine, self._memory, self._kernels = trt, engine, memory, kernels
        self._max_batch, self._cuda_graph = max_batch, cuda_graph
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names]
        specs = [self._spec_of(name) for name in names]
        self.inputs = [spec for spec, is_input in zip(specs, inputs, strict=True) if is_input]
        self.outputs = [spec for spec, is_input in zip(specs, inputs, strict=True) if not is_input]
        self._profiles = int(engine.num_optimization_profiles)
        # By profile: each holds memory for its largest batch, so the second waits for a batch.
        self._contexts = {} if cuda_graph else {0: self._new_context(1)}
        self._captured: dict[int, _Captured] = {}
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Inputs by name to outputs by name, which are new arrays of the GPU.

        Raises ValueError for shapes and TypeError for types that are not the engine's, RuntimeError
        where it fails.
        """
        arrays, persons = check_inputs(inputs, self.inputs)
        run = self._replay if self._cuda_graph else self._execute
        with self._lock, self._memory.on_device():
            if persons == 0:
                return self._empty(self.outputs, 0)
            parts = []
            for start in range(0, persons, self._max_batch):
                end = min(start + self._max_batch, persons)
                batch = {name: array[start:end] for name, array in arrays.items()}
                parts.append(run(batch, end - start))
            if self._kernels is not None:
                self._kernels.count_call()
            if len(parts) == 1:
                return parts[0]
            return {name: self._memory.join([part[name] for part in parts]) for name in parts[0]}

    def _execute(self, batch: _Inputs, persons: int) -> dict[str, Any]:
        profile = profile_for(persons, self._profiles)
        if profile not in self._contexts:
            self._contexts[profile] = self._new_context(persons)
        context = self._contexts[profile]
        buffers, outputs = self._bind(context, persons)
        with self._memory.on_stream() as stream:
            self._upload(batch, buffers)
            enqueue(self._trt, context, stream)
        return outputs

    def _replay(self, batch: _Inputs, persons: int) -> dict[str, Any]:
        if persons not in self._captured:
            # A context each: a graph is void once the context that it was captured from changes.
            context = self._new_context(persons)
            self._captured[persons] = _Captured(context, *self._bind(context, persons))
        captured = self._captured[persons]
        results = self._empty(self.outputs, persons)
        with self._memory.on_stream() as stream:
            self._upload(batch, captured.inputs)
            if captured.replay is None:
                captured.replay = self._capture(captured.context, stream)
            captured.replay()
            for name, result in results.items():
                self._memory.copy(captured.outputs[name], result)
        return results

    def _capture(self, context: Any, stream: int) -> Callable[[], None]:
        def execute() -> None:
            enqueue(self._trt, context, stream)

        if self._captures_by_itself:
            return execute
        execute()  # does the one-time work for new shapes, which must not be captured
        return self._memory.capture(execute)

    @property
    def _captures_by_itself(self) -> bool:
        return captures_by_itself(self._trt)

    def _new_context(self, persons: int) -> Any:
        """A context for batches like one of `persons`."""
        context = new_context(
            self._trt, self._engine, cuda_graph=self._cuda_graph, kernels=self._kernels
        )
        if profile := profile_for(persons, self._profiles):
            with self._memory.on_stream() as stream:
                if not context.set_optimization_profile_async(profile, stream):
                    raise RuntimeError(f"TensorRT refuses its optimization profile {profile}")
        return context

    def _bind(self, context: Any, persons: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """New buffers for inputs and outputs, which the context will use."""
        buffers, outputs = self._empty(self.inputs, persons), self._empty(self.outputs, persons)
        for spec in self.inputs:
            shape = (persons, *spec.shape)
            if not context.set_input_shape(spec.name, shape):
                raise ValueError(f"TensorRT refuses {spec.name!r} of the shape {shape}")
        for name, buffer in (buffers | outputs).items():
            if not context.set_tensor_address(name, self._memory.address(buffer)):
                raise RuntimeError(f"TensorRT refuses the memory of {name!r}")
        return buffers, outputs

    def _upload(self, batch: _Inputs, buffers: dict[str, Any]) -> None:
        for name, buffer in buffers.items():
            self._memory.upload(batch[name], buffer)

    def _empty(self, specs: list[TensorSpec], persons: int) -> dict[str, Any]:
        return {spec.name: self._memory.empty((persons, *spec.shape), spec.dtype) for spec in specs}

    def _spec_of(self, name: str) -> TensorSpec:
        shape = [None if size == -1 else size for size in self._engine.get_tensor_shape(name)]
        return TensorSpec.of(name, self._engine.get_tensor_dtype(name).name, shape, _TYPES)
