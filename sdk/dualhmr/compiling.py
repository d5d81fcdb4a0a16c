"""Loops over arrays, compiled by numba. Importing this module does not import numba."""

import importlib
import importlib.util
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

Kernel: TypeAlias = Callable[..., None]

# All of fastmath's rewrites, except the two that assume that NaN and infinity do not occur.
NAN_SAFE_FASTMATH = ("contract", "arcp", "nsz", "reassoc", "afn")


def numba_installed() -> bool:
    """Whether numba can be imported. Does not import it."""
    return importlib.util.find_spec("numba") is not None


def load_numba() -> Any:
    """The module, which takes long to load. Raises ImportError that says what to install."""
    try:
        return importlib.import_module("numba")
    except ImportError as error:
        raise ImportError(
            f'compiled loops need numba ({error}): pip install "dualhmr[fast]"'
        ) from error


def compiled_loop(function: Kernel, *, fastmath: Collection[str] = NAN_SAFE_FASTMATH) -> Kernel:
    """Decorate a loop: numba compiles it at its first call and releases the GIL while it runs.

    The machine code is cached on disk, unless there is no folder that can be written.
    """
    numba = load_numba()

    # error_model: a division by zero gives infinity or NaN, as in NumPy, and is not checked for.
    options: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
    try:
        kernel: Kernel = numba.njit(function, cache=True, **options)
    except RuntimeError:  # numba finds no folder for the cache
        kernel = numba.njit(function, **options)
    return kernel
