"""Runs engines that hand a state on, in two sets of buffers that swap; nothing leaves the GPU.

An engine reads inputs by name and the state as `before.NAME`; it writes `after.NAME`, and may write
one `row` (1, R), of which a history is kept. All are float32 of fixed shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import to_numpy
from dualhmr.engines.frozen_network import EngineOptions
from dualhmr.engines.tensorrt.library import library_and_gpu
from dualhmr.engines.tensorrt.memory import DeviceMemory, device_memory
from dualhmr.engines.tensorrt.run import (
    LoadedEngine,
    captures_by_itself,
    enqueue,
    load_engine,
    new_context,
)

BEFORE, AFTER, ROW = "before.", "after.", "row"
_F32 = np.dtype(np.float32)


class StepEngines:
    """Engines over one state, on one GPU. One caller at a time."""

    def __init__(
        self, trt: Any, engines: Sequence[LoadedEngine], memory: DeviceMemory, *, cuda_graph: bool
    ) -> None:
        """`trt`: the library's module. `cuda_graph`: whether runs are captured and replayed.

        Raises ValueError for engines that do not fit each other or read and write other types.
        """
        self._trt, self._engines, self._memory = trt, engines, memory
        self._cuda_graph, self._side = cuda_graph, 0
        self._shapes = [_tensor_shapes(each.engine) for each in engines]
        shapes: dict[str, tuple[int, ...]] = {}
        for number, own in enumerate(self._shapes):
            for name, shape in own.items():
                buffer = name.removeprefix(BEFORE).removeprefix(AFTER)
                if shapes.setdefault(buffer, shape) != shape:
                    raise ValueError(
                        f"engine {number} has {name} of shape {shape}, another {shapes[buffer]}"
                    )
        state = {
            name.removeprefix(AFTER)
            for own in self._shapes
            for name in own
            if name.startswith(AFTER)
        }
        self.row_size = shapes[ROW][-1]
        """R, how many numbers a row has."""
        with memory.on_device():
            self._fixed = {
                name: memory.empty(shape, _F32)
                for name, shape in shapes.items()
                if name not in state
            }
            self._state = [
                {name: memory.empty(shapes[name], _F32) for name in state} for _ in range(2)
            ]
            self._history = memory.empty((1, self.row_size), _F32)
        self._runs: dict[tuple[int, int], Callable[[int], None]] = {}

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(name for name in self._fixed if name != ROW)

    def begin(self, inputs: Mapping[str, npt.NDArray[Any]], rows: int) -> None:
        """Uploads `inputs`, and makes room for a history of `rows`.

        Raises ValueError for an input of another shape.
        """
        arrays = {name: np.ascontiguousarray(inputs[name], np.float32) for name in self.reads}
        for name, array in arrays.items():
            if array.shape != tuple(self._fixed[name].shape):
                expected = tuple(self._fixed[name].shape)
                raise ValueError(f"input {name} has the shape {array.shape}, expected {expected}")
        with self._memory.on_device(), self._memory.on_stream():
            for name, array in arrays.items():
                self._memory.upload(array, self._fixed[name])
            if len(self._history) < rows:
                self._history = self._memory.empty((rows, self.row_size), _F32)

    def run(self, number: int, *, row: int | None = None, cleared: bool = False) -> None:
        """Queues engine `number`; its `row` becomes that of the history.

        `cleared`: the state that only this engine knows, such as an optimiser's, is zero before.
        """
        with self._memory.on_device(), self._memory.on_stream() as stream:
            if cleared:
                for name in self._own_state(number):
                    self._memory.copy(0.0, self._state[self._side][name])
            key = number, self._side
            if key not in self._runs:
                self._runs[key] = self._prepare(number, stream)
            self._runs[key](stream)
            if row is not None:
                self._memory.copy(self._fixed[ROW], self._history[row : row + 1])
        self._side = 1 - self._side
        kernels = self._engines[number].kernels
        if kernels is not None:
            kernels.count_call()

    def rows(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Rows of the history; waits for the GPU."""
        with self._memory.on_device():
            rows: npt.NDArray[np.float32] = to_numpy(self._history[start:end])
        return rows

    def _own_state(self, number: int) -> set[str]:
        """What engine 0, which begins, does not write."""
        names = [
            {name.removeprefix(AFTER) for name in self._shapes[each] if name.startswith(AFTER)}
            for each in (0, number)
        ]
        return names[1] - names[0]

    def _prepare(self, number: int, stream: int) -> Callable[[int], None]:
        """A context for one direction, bound to its buffers once."""
        loaded = self._engines[number]
        context = new_context(
            self._trt, loaded.engine, cuda_graph=self._cuda_graph, kernels=loaded.kernels
        )
        before, after = self._state[self._side], self._state[1 - self._side]
        for name in self._shapes[number]:
            if name.startswith(BEFORE):
                buffer = before[name.removeprefix(BEFORE)]
            elif name.startswith(AFTER):
                buffer = after[name.removeprefix(AFTER)]
            else:
                buffer = self._fixed[name]
            if not context.set_tensor_address(name, self._memory.address(buffer)):
                raise RuntimeError(f"TensorRT refuses the memory of {name!r}")
        execute = partial(enqueue, self._trt, context)
        if not self._cuda_graph or captures_by_itself(self._trt):
            return execute
        execute(stream)  # one-time work, which must not be captured; it can be done twice
        replay = self._memory.capture(partial(execute, stream))
        return lambda _stream: replay()


def open_step_engines(
    paths: Sequence[Path], *, device: str, options: EngineOptions
) -> tuple[StepEngines, str]:
    """The engines of ONNX files, as `TensorRTNetwork` opens them, and what they run on."""
    library, gpu = library_and_gpu(device)
    memory = device_memory(gpu)
    options = replace(options, tf32=False)
    with memory.on_device():
        loaded = [
            load_engine(path, library=library, gpu=gpu, max_batch=1, options=options)
            for path in paths
        ]
    engines = StepEngines(library.module, loaded, memory, cuda_graph=options.captures_graphs)
    return engines, f"{library} {gpu.name} ({gpu.capability})"


def _tensor_shapes(engine: Any) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        shapes[name] = tuple(engine.get_tensor_shape(name))
        if kind != "FLOAT" or -1 in shapes[name]:
            raise ValueError(f"{name} is {kind} {shapes[name]}, expected FLOAT of a fixed shape")
    return shapes
