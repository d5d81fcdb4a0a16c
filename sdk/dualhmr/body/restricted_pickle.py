"""Reads SMPL's `.pkl` files without running them.

A pickle is a program that may call anything it names. The released SMPL files need only NumPy
arrays, scipy sparse matrices and chumpy arrays; here the first are built by NumPy's own two
constructors, the others become inert records of their data, and every other name is refused.
"""

import codecs
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class _Record:
    """Stands in for an object whose class is not to be imported: keeps its state, runs nothing."""

    def __init__(self, *_arguments: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(
                f"expected a dict of attributes, got {type(state).__name__}"
            )
        self.state = state


class ChumpyArray(_Record):
    """A chumpy array; its numbers are under `x`."""

    def to_array(self) -> npt.NDArray[Any]:
        """The numbers, or ValueError where the object is an expression rather than an array."""
        if not isinstance(self.state.get("x"), np.ndarray):
            raise ValueError("a chumpy expression without stored numbers; save its value instead")
        return np.asarray(self.state["x"])


class SparseMatrix(_Record):
    """A scipy matrix compressed by columns."""

    def to_array(self) -> npt.NDArray[Any]:
        """The dense matrix, or ValueError where the parts do not make one."""
        missing = {"data", "indices", "indptr"} - set(self.state)
        shape = self.state.get("_shape", self.state.get("shape"))
        if missing or not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError("a sparse matrix without shape, data, indices or indptr")
        data, rows, starts = (np.asarray(self.state[key]) for key in ("data", "indices", "indptr"))
        height, width = (int(side) for side in shape)
        counts = np.diff(starts)
        fits = len(starts) == width + 1 and (counts >= 0).all() and counts.sum() == len(data)
        if (
            not fits
            or len(rows) != len(data)
            or (len(rows) and not 0 <= rows.min() <= rows.max() < height)
        ):
            raise ValueError(f"a damaged sparse matrix of shape {shape}")
        dense = np.zeros((height, width))
        np.add.at(dense, (rows, np.repeat(np.arange(width), counts)), data)
        return dense


def _reconstruct_object(cls: type, _base: type, _state: object) -> object:
    """Python 2's way to make an object: only our inert records are made."""
    if not issubclass(cls, _Record):
        raise pickle.UnpicklingError(f"{cls.__name__} is not among the types of an SMPL file")
    return cls()


def _encode_latin1(text: str, _encoding: str = "latin1") -> bytes:
    """What Python 3 writes for bytes in old protocols."""
    return codecs.encode(text, "latin1")


def _numpy_constructors() -> dict[str, Callable[..., Any]]:
    """NumPy's pickle constructors, taken from what its own arrays and scalars reduce to."""
    constructors = {
        "_reconstruct": np.zeros(1).__reduce__()[0],
        "scalar": np.float64(0).__reduce__()[0],  # type: ignore[misc]
        "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    }
    return {name: function for name, function in constructors.items() if callable(function)}


_NUMPY_MODULES = (
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
)


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The harmless stand-in for a name; UnpicklingError for any other name."""
        if module in _NUMPY_MODULES:
            allowed: dict[str, Any] = {
                "ndarray": np.ndarray, "dtype": np.dtype, **_numpy_constructors()
            }  # fmt: skip
            if name in allowed:
                return allowed[name]
        if module == "scipy.sparse" or module.startswith("scipy.sparse."):
            if name in ("csc_matrix", "csc_array"):
                return SparseMatrix
        elif module == "chumpy" or module.startswith("chumpy."):
            return ChumpyArray
        elif (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return _reconstruct_object
        elif (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return object
        elif (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}")

    def persistent_load(self, _pid: Any) -> Any:
        """Refused: SMPL files have no outside references."""
        raise pickle.UnpicklingError("the file refers to objects outside of itself")


def read_smpl_pickle(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The numeric arrays of an SMPL `.pkl`, by name; anything else in it is left out.

    Raises ValueError when the file is damaged or names a type that an SMPL file does not need.
    """
    try:
        with path.open("rb") as file:
            content = _RestrictedUnpickler(file, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # a hostile or damaged pickle can raise anything
        raise ValueError(
            f"{path}: not a readable SMPL pickle, nothing in it was run: {error}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dict of arrays, got {type(content).__name__}")
    arrays = {}
    for name, value in content.items():
        if isinstance(value, ChumpyArray | SparseMatrix):
            try:
                value = value.to_array()
            except ValueError:
                continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            arrays[str(name)] = value
    return arrays
