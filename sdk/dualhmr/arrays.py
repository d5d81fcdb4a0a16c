"""Arrays of NumPy or of PyTorch, for what is written once and computes with both."""

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
"""A NumPy array or a tensor. What comes out is of the library that came in."""


def library_of(array: Array) -> Any:
    """The module, NumPy or PyTorch, whose functions take `array`.

    To be used for functions that both have, with arguments by position: names differ.
    """
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def to_numpy(array: Array) -> npt.NDArray[Any]:
    """The numbers of an array of NumPy, PyTorch, CuPy or another library, in the host's memory."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "cpu"):  # PyTorch
        array = array.cpu()
    elif hasattr(array, "get"):  # CuPy
        array = array.get()
    return np.from_dlpack(array)
