"""Memory of the GPU as torch tensors: one form of `DeviceMemory`."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy.typing as npt


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
