"""What networks give back: arrays of whatever library, exchanged through DLPack."""

from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.dlpack import from_dlpack


class DLPackArray(Protocol):
    """An array of NumPy, PyTorch, CuPy or another library that speaks DLPack."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """The array's memory, in a capsule."""
        ...

    def __dlpack_device__(self) -> Any:
        """Where that memory is."""
        ...


Arrays = dict[str, DLPackArray]


def as_tensor(array: DLPackArray, device: str) -> Tensor:
    """The array as a tensor on `device`; shares memory where it can."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # PyTorch knows no memory that must not be written
    tensor = array if isinstance(array, Tensor) else from_dlpack(array)
    return tensor.to(device)
