"""Memory and streams of the GPU, as arrays of PyTorch or, where it has no CUDA, of CuPy.

Arrays are allocated on the caller's stream; work is done on a stream of our own, which starts when
what the caller has queued is done, and what the caller queues next waits for it. So nobody has to
synchronise, and memory that the caller lets go of is never in use.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy.typing as npt

from dualhmr.engines.tensorrt.cupy_memory import CupyMemory
from dualhmr.engines.tensorrt.gpu import Gpu
from dualhmr.engines.tensorrt.torch_memory import TorchMemory


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
