"""Functions for arrays of NumPy or PyTorch, and whether PyTorch is installed."""

import importlib.util
import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
"""A NumPy array or a tensor. Functions return arrays of the library of their arguments."""


def library_of(array: Array) -> Any:
    """The module, NumPy or PyTorch, whose functions take `array`.

    Call only functions that both have, with positional arguments, because keywords differ.
    """
    # Where there is a tensor, torch is imported already.
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def is_tensor(array: Array) -> bool:
    """Whether it is PyTorch's. Does not import it."""
    torch = sys.modules.get("torch")  # also None where an import of it is blocked
    return torch is not None and isinstance(array, torch.Tensor)


def to_numpy(array: Array) -> npt.NDArray[Any]:
    """An array of NumPy, PyTorch, CuPy or another DLPack library as a NumPy array on the CPU."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "cpu"):  # PyTorch
        array = array.cpu()
    elif hasattr(array, "get"):  # CuPy
        array = array.get()
    return np.from_dlpack(array)


INSTALL_TORCH = 'pip install "dualhmr[torch]"'


def torch_installed() -> bool:
    """Whether PyTorch can be imported. Does not import it."""
    return importlib.util.find_spec("torch") is not None


def check_torch(needed_by: str) -> None:
    """Raises ImportError, saying how to install PyTorch, unless it is installed."""
    if not torch_installed():
        raise ImportError(f"{needed_by} needs PyTorch: {INSTALL_TORCH}")
