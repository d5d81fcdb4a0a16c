"""NumPy and PyTorch: arrays of either, and whether PyTorch is installed."""

import importlib.util
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


INSTALL_TORCH = 'pip install "dualhmr[torch]"'


def torch_installed() -> bool:
    """Whether it can be imported; does not import it."""
    return importlib.util.find_spec("torch") is not None


def check_torch(needed_by: str) -> None:
    """Raises ImportError, which says what needs PyTorch and how to install it."""
    if not torch_installed():
        raise ImportError(f"{needed_by} needs PyTorch: {INSTALL_TORCH}")
