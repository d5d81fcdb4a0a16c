"""Runs a deserialised engine on a GPU's memory."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from dualhmr.engines.tensorrt.memory import DeviceMemory
from dualhmr.engines.tensorrt.messages import listening
from dualhmr.engines.tensorrt.splitting import batch_size
from dualhmr.engines.tensorrt.tensors import tensors_of

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
