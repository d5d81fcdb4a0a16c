"""Memory and streams of the GPU, as arrays of PyTorch or, where it has no CUDA, of CuPy.

Arrays are allocated on the caller's stream; work is done on a stream of our own, which starts when
what the caller has queued is done, and what the caller queues next waits for it. So nobody has to
synchronise, and memory that the caller lets go of is never in use.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy.typing as npt

from dualhmr.engines.tensorrt.library import Gpu


class DeviceMemory(Protocol):
    """What running an engine needs of a GPU's memory. `dtype` is NumPy's name, or "bfloat16"."""

    def on_device(self) -> AbstractContextManager[Any]:
        """Makes the GPU the current one; everything below is called within."""
        ...

    def on_stream(self) -> AbstractContextManager[int]:
        """Makes our own stream the current one; lends its handle."""
        ...

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        """A contiguous array with anything in it."""
        ...

    def address(self, array: Any) -> int:
        """Where the array begins."""
        ...

    def fill(self, array: Any, values: npt.NDArray[Any]) -> None:
        """Copies from the host; it need not keep `values`."""
        ...

    def copy(self, source: Any, target: Any) -> None:
        """Copies between arrays of the GPU."""
        ...

    def join(self, arrays: Sequence[Any]) -> Any:
        """Concatenates along the first dimension."""
        ...

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """What replays the work that `run` queues on our own stream, as a CUDA graph."""
        ...


def device_memory(gpu: Gpu) -> DeviceMemory:
    """Memory of `gpu` through the library that found it."""
    return TorchMemory(gpu.index) if gpu.seen_by == "torch" else CupyMemory(gpu.index)


class TorchMemory:
    """Arrays are torch tensors."""

    def __init__(self, index: int) -> None:
        """Makes a stream on GPU number `index`."""
        self._torch: Any = importlib.import_module("torch")
        self._index = index
        self._stream = self._torch.cuda.Stream(device=index)

    def on_device(self) -> AbstractContextManager[Any]:
        """See `DeviceMemory`."""
        context: AbstractContextManager[Any] = self._torch.cuda.device(self._index)
        return context

    @contextmanager
    def on_stream(self) -> Iterator[int]:
        """See `DeviceMemory`."""
        caller = self._torch.cuda.current_stream()
        self._stream.wait_stream(caller)
        try:
            with self._torch.cuda.stream(self._stream):
                yield self._stream.cuda_stream
        finally:
            caller.wait_stream(self._stream)

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        """See `DeviceMemory`."""
        kind = getattr(self._torch, dtype)
        return self._torch.empty(tuple(shape), dtype=kind, device=f"cuda:{self._index}")

    def address(self, array: Any) -> int:
        """See `DeviceMemory`."""
        return int(array.data_ptr())

    def fill(self, array: Any, values: npt.NDArray[Any]) -> None:
        """See `DeviceMemory`."""
        array.copy_(self._torch.from_numpy(values))

    def copy(self, source: Any, target: Any) -> None:
        """See `DeviceMemory`."""
        target.copy_(source)

    def join(self, arrays: Sequence[Any]) -> Any:
        """See `DeviceMemory`."""
        return self._torch.cat(list(arrays))

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """See `DeviceMemory`."""
        graph = self._torch.cuda.CUDAGraph()
        # thread_local: other threads may go on allocating meanwhile.
        with self._torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            run()
        replay: Callable[[], None] = graph.replay
        return replay


class CupyMemory:
    """Arrays are CuPy's."""

    def __init__(self, index: int) -> None:
        """Makes a stream on GPU number `index`."""
        self._cupy: Any = importlib.import_module("cupy")
        self._device = self._cupy.cuda.Device(index)
        with self._device:
            self._stream = self._cupy.cuda.Stream(non_blocking=True)

    def on_device(self) -> AbstractContextManager[Any]:
        """See `DeviceMemory`."""
        context: AbstractContextManager[Any] = self._device
        return context

    @contextmanager
    def on_stream(self) -> Iterator[int]:
        """See `DeviceMemory`."""
        caller = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(caller.record())
        try:
            with self._stream:
                yield self._stream.ptr
        finally:
            caller.wait_event(self._stream.record())

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        """See `DeviceMemory`. TypeError for "bfloat16", which CuPy has not."""
        return self._cupy.empty(tuple(shape), dtype=dtype)

    def address(self, array: Any) -> int:
        """See `DeviceMemory`."""
        return int(array.data.ptr)

    def fill(self, array: Any, values: npt.NDArray[Any]) -> None:
        """See `DeviceMemory`."""
        array.set(values)

    def copy(self, source: Any, target: Any) -> None:
        """See `DeviceMemory`."""
        self._cupy.copyto(target, source)

    def join(self, arrays: Sequence[Any]) -> Any:
        """See `DeviceMemory`."""
        return self._cupy.concatenate(list(arrays))

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """See `DeviceMemory`."""
        self._stream.begin_capture()
        try:
            run()
        finally:
            graph = self._stream.end_capture()
        return lambda: graph.launch(self._stream)
