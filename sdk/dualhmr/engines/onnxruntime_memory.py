"""Where ONNX Runtime leaves its results: in NumPy's arrays, or in PyTorch's on a GPU."""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.torch_extra import torch_installed


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
