"""Memory of the GPU as CuPy arrays: one form of `DeviceMemory`."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy.typing as npt


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
