"""Memory and streams of the GPU, as arrays of PyTorch or, where it has no CUDA, of CuPy.

Arrays are allocated on the caller's stream. Work runs on a stream of our own, which first waits for
what the caller has queued, and what the caller queues next waits for it. So no call blocks the
host, and memory that the caller frees is never in use.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.engines.tensorrt.library import Gpu


def device_memory(gpu: Gpu) -> "DeviceMemory":
    """Memory of `gpu`, in arrays of the library that found it."""
    return (DeviceMemory if gpu.array_library == "torch" else _CupyMemory)(gpu.index)


class DeviceMemory:
    """Arrays on a GPU are torch tensors. Other methods are called within `on_device`."""

    def __init__(self, index: int) -> None:
        """Makes a stream on GPU number `index`."""
        self._torch: Any = importlib.import_module("torch")
        self._index = index
        self._stream = self._torch.cuda.Stream(device=index)

    def on_device(self) -> AbstractContextManager[Any]:
        """Makes the GPU the current one."""
        context: AbstractContextManager[Any] = self._torch.cuda.device(self._index)
        return context

    @contextmanager
    def on_stream(self) -> Iterator[int]:
        """Makes our own stream the current one; yields its handle."""
        caller = self._torch.cuda.current_stream()
        self._stream.wait_stream(caller)
        try:
            with self._torch.cuda.stream(self._stream):
                yield self._stream.cuda_stream
        finally:
            caller.wait_stream(self._stream)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """A contiguous array, not initialised."""
        kind = getattr(self._torch, dtype.name)
        return self._torch.empty(tuple(shape), dtype=kind, device=f"cuda:{self._index}")

    def address(self, array: Any) -> int:
        """Of the array's first element."""
        return int(array.data_ptr())

    def upload(self, values: npt.NDArray[Any], target: Any) -> None:
        """Copies from the host; `values` may change afterwards."""
        # Writeable, because PyTorch warns of read-only arrays.
        target.copy_(self._torch.from_numpy(np.require(values, requirements="W")))

    def copy(self, source: Any, target: Any) -> None:
        """Copies between arrays of the GPU."""
        target[...] = source

    def join(self, arrays: Sequence[Any]) -> Any:
        """Concatenates along the first dimension."""
        return self._torch.cat(list(arrays))

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Records the work that `run` queues on our stream as a CUDA graph; returns its replay."""
        graph = self._torch.cuda.CUDAGraph()
        # thread_local: other threads may allocate memory meanwhile.
        with self._torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            run()
        replay: Callable[[], None] = graph.replay
        return replay


class _CupyMemory(DeviceMemory):
    """The same with CuPy's arrays."""

    def __init__(self, index: int) -> None:
        self._cupy: Any = importlib.import_module("cupy")
        self._device = self._cupy.cuda.Device(index)
        with self._device:
            self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def on_device(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._device
        return context

    @contextmanager
    def on_stream(self) -> Iterator[int]:
        caller = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(caller.record())
        try:
            with self._stream:
                yield self._stream.ptr
        finally:
            caller.wait_event(self._stream.record())

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        return self._cupy.empty(tuple(shape), dtype)

    def address(self, array: Any) -> int:
        return int(array.data.ptr)

    def upload(self, values: npt.NDArray[Any], target: Any) -> None:
        target.set(values)

    def join(self, arrays: Sequence[Any]) -> Any:
        return self._cupy.concatenate(list(arrays))

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        self._stream.begin_capture()
        try:
            run()
        finally:
            graph = self._stream.end_capture()
        return lambda: graph.launch(self._stream)
