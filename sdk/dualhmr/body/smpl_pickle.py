"""Reads SMPL's `.pkl` files without running them.

A pickle is a program that may call anything it names. Here the names that occur in SMPL files
stand for inert records, never for the named object, and every other name is refused. So loading
makes only records, dicts, lists, tuples, strings and numbers.

A record keeps the arguments and the state of its object and runs nothing. Arrays are rebuilt
afterwards from number formats and bytes alone: NumPy's own constructors trust what a pickle says
about a dtype, which is enough to corrupt memory.
"""

import math
import os
import pickle
import pickletools
from collections.abc import Container, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dualhmr.untrusted import brief, check_shape, check_size, one_value_error

_NUMBER_FORMATS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
_LARGEST_MATRIX = 10_000_000
"""Entries; SMPL's largest sparse matrix has 24 x 6890."""


class Record:
    """Takes the place of an object whose class is not imported."""

    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> "Record":
        """Keeps the arguments, which may be of any number and type."""
        record = super().__new__(cls)
        record.arguments = arguments
        return record

    def __setstate__(self, state: object) -> None:
        self.state = state

    def to_array(self) -> npt.NDArray[Any]:
        """The numbers. Raises ValueError or TypeError if there are none."""
        raise ValueError("an object without numbers")


class OldObject(Record):
    """`copy_reg._reconstructor(cls, base, state)`, how old protocols make an object of a class."""

    def __new__(cls, record: object, *_arguments: Any) -> Any:
        """An instance of the record that takes the place of the class."""
        if not (isinstance(record, type) and issubclass(record, Record)):
            raise TypeError("an object of something that is no class")
        return record()


class EncodedBytes(Record):
    """`_codecs.encode(text, "latin1")`, how Python 3 writes bytes in old protocols."""


class NumberFormat(Record):
    """`numpy.dtype(code, align, copy)` with the byte order in its state."""

    def to_dtype(self) -> np.dtype[Any]:
        """Raises ValueError for strings, objects and structures."""
        code = self.arguments[0]
        if code not in _NUMBER_FORMATS:
            # Not the repr of a list: lists that hold each other twice over have an endless one.
            shown = repr(code[:20]) if isinstance(code, str) else type(code).__name__
            raise ValueError(f"an array of dtype {shown}, expected real numbers")
        order = self.state[1] if self.state else "="
        return np.dtype(code).newbyteorder({"<": "<", ">": ">"}.get(order, "="))


class Array(Record):
    """`numpy.core.multiarray._reconstruct(...)`, whose content is in its state."""

    def to_array(self) -> npt.NDArray[Any]:
        """A fresh array."""
        _, shape, number_format, is_fortran, data = self.state
        return array_from_bytes(data, number_format, shape, "F" if is_fortran else "C")


class BufferArray(Record):
    """`numpy.core.numeric._frombuffer(buffer, dtype, shape, order, axis_order)` of protocol 5."""

    def to_array(self) -> npt.NDArray[Any]:
        """A fresh array."""
        data, number_format, shape, order, *axis_order = self.arguments
        if order != "K":
            return array_from_bytes(data, number_format, shape, order)
        return array_from_bytes(data, number_format, shape, "C").transpose(*axis_order)


class Scalar(Record):
    """`numpy.core.multiarray.scalar(dtype, bytes)`."""

    def to_array(self) -> npt.NDArray[Any]:
        """Without axes."""
        number_format, data = self.arguments
        return array_from_bytes(data, number_format, (), "C")


class ChumpyArray(Record):
    """A chumpy object; those that are plain arrays keep their numbers under `x`."""

    def to_array(self) -> npt.NDArray[Any]:
        """Raises ValueError for an expression of other objects."""
        numbers = self.state.get("x") if isinstance(self.state, dict) else None
        if not isinstance(numbers, Array | BufferArray):
            raise ValueError("a chumpy expression without stored numbers; save its value instead")
        return numbers.to_array()


class SparseMatrix(Record):
    """A scipy matrix compressed by columns."""

    def to_array(self) -> npt.NDArray[Any]:
        """The dense matrix. Raises ValueError if the parts are not a valid matrix."""
        parts = self.state if isinstance(self.state, dict) else {}
        height, width = _shape(parts.get("_shape", parts.get("shape")))
        data, rows, starts = (_part(parts, name) for name in ("data", "indices", "indptr"))
        if not (
            rows.dtype.kind in "iu"
            and starts.dtype.kind in "iu"
            and data.shape == rows.shape == (len(data),)
            and starts.shape == (width + 1,)
            and starts[0] == 0
            and (starts[:-1] <= starts[1:]).all()
            and starts[-1] == len(data)
            and height * width <= _LARGEST_MATRIX
            and (len(rows) == 0 or 0 <= rows.min() <= rows.max() < height)
        ):
            raise ValueError(f"a damaged sparse matrix of shape {(height, width)}")
        dense = np.zeros((height, width))
        columns = np.repeat(np.arange(width), np.diff(starts))
        np.add.at(dense, (rows, columns), data)
        return dense


def _part(parts: dict[str, Any], name: str) -> npt.NDArray[Any]:
    if not isinstance(parts.get(name), Array | BufferArray):
        raise ValueError(f"a sparse matrix without {name}")
    return parts[name].to_array()


def array_from_bytes(data: Any, number_format: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    """A fresh array of numbers. Raises ValueError where the parts do not fit each other."""
    if not isinstance(number_format, NumberFormat):
        raise ValueError("an array without a dtype")
    dtype, shape, content = number_format.to_dtype(), _shape(shape), _bytes(data)
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} with {len(content)} bytes")
    values = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
    return values.reshape(shape, order=order)


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple):
        raise ValueError("an array without a shape")
    check_shape(shape)
    return shape


def _bytes(data: Any) -> bytes:
    """Python 2 wrote bytes as strings, which the unpickler decodes as latin1."""
    if isinstance(data, EncodedBytes):
        return _bytes(data.arguments[0])
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError("an array of objects, expected real numbers")
    return bytes(data)


NUMPY_RECORDS: dict[tuple[str, str], type[Record]] = {
    ("numpy", "dtype"): NumberFormat,
    ("numpy", "ndarray"): Record,
}
for _core in ("numpy.core", "numpy._core"):
    NUMPY_RECORDS[f"{_core}.multiarray", "_reconstruct"] = Array
    NUMPY_RECORDS[f"{_core}.multiarray", "scalar"] = Scalar
    NUMPY_RECORDS[f"{_core}.numeric", "_frombuffer"] = BufferArray
_RECORDS = NUMPY_RECORDS | {("_codecs", "encode"): EncodedBytes}
for _builtins, _copyreg in (("__builtin__", "copy_reg"), ("builtins", "copyreg")):
    _RECORDS[_copyreg, "_reconstructor"] = OldObject
    # Chumpy's bookkeeping: base classes, sets of changed variables, index ranges.
    for _name in ("object", "set", "slice"):
        _RECORDS[_builtins, _name] = Record


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[Record]:
        """The record for a name. Raises UnpicklingError for a name that SMPL files do not use."""
        record = _RECORDS.get((module, name))
        if record:
            return record
        if f"{module}.".startswith("scipy.sparse."):
            return SparseMatrix if name in ("csc_matrix", "csc_array") else Record
        if f"{module}.".startswith("chumpy."):
            return ChumpyArray
        raise pickle.UnpicklingError(f"the file asks for {module[:80]}.{name[:80]}")


def read_smpl_pickle(
    path: Path, names: Iterable[str], *, limit_bytes: int
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an SMPL `.pkl` that are called one of `names`.

    Raises ValueError if the file is damaged, names a type that SMPL files do not use, or holds
    anything but numbers under one of `names`, or more than `limit_bytes` of them.
    """
    with (
        path.open("rb") as file,
        one_value_error(path, "not a readable SMPL pickle, nothing in it was run"),
    ):
        check_size(os.fstat(file.fileno()).st_size, 2 * limit_bytes)
        check_opcodes(file)
        file.seek(0)
        content = _RestrictedUnpickler(file, encoding="latin1").load()
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dict of arrays, got {type(content).__name__}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        if name in content:
            arrays[name] = _to_array(path, name, content[name])
        # One string of bytes may be the content of several arrays.
        if sum(array.nbytes for array in arrays.values()) > limit_bytes:
            raise ValueError(f"{path}: its arrays have more than {limit_bytes} bytes")
    return arrays


def _to_array(path: Path, name: str, value: object) -> npt.NDArray[Any]:
    try:
        if isinstance(value, Record):
            return value.to_array()
    except Exception as error:  # a hostile record can hold anything
        raise ValueError(f"{path}: {name} is {brief(error)}") from error
    raise ValueError(f"{path}: {name} is a {type(value).__name__}, expected an array")


# They refer to registries, persistent objects or buffers outside of the file.
_REFUSED_OPCODES = ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER")
_MOST_OPCODES = 5_000_000
_LARGEST_WORK, _WORK_PER_OPCODE = 100_000, 10
_LARGEST_MEMO = 1_000_000
"""SMPL files use a few thousand entries; the unpickler allocates up to the largest index."""


def check_opcodes(file: IO[bytes], *, refused: Container[str] = _REFUSED_OPCODES) -> None:
    """Follows one pickle to its end; UnpicklingError if it could keep even a safe reader busy.

    A tuple may hold another one twice, that one a third twice, and so on: 30 levels make a billion
    entries, and its hash as a key of a dict visits each. So the sizes of tuples are followed
    through the pickle's stack and its memo, every tuple costs its size each time it is pushed, and
    the sum is bounded. Lists and dicts have no hash and count as one.
    """
    stack: list[int | None] = []  # sizes; None is a mark
    memo: dict[int, int] = {}
    work = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        name = opcode.name
        if name in refused:
            raise pickle.UnpicklingError("the file refers to objects outside of itself")
        if "PUT" in name and argument is not None and argument > _LARGEST_MEMO:
            raise pickle.UnpicklingError(f"the file asks for memory of {argument} objects")
        if name == "MARK":
            stack.append(None)
            continue
        if "PUT" in name or name == "MEMOIZE":
            memo[len(memo) if argument is None else argument] = stack[-1] or 1
            continue
        taken = _take(stack, opcode)
        if name.startswith("TUPLE"):
            size = 1 + sum(taken)
        elif "GET" in name:
            size = memo[argument or 0]
        else:  # DUP pushes what it takes, twice
            size = taken[0] if name == "DUP" else 1
        pushed = len(opcode.stack_after)
        stack.extend([size] * pushed)
        work += size * pushed
        if work > _LARGEST_WORK + _WORK_PER_OPCODE * count or count > _MOST_OPCODES:
            raise pickle.UnpicklingError("its tuples hold each other too many times over")


def _take(stack: list[int | None], opcode: pickletools.OpcodeInfo) -> list[int]:
    """Removes what `opcode` takes from the stack: sizes."""
    taken: list[int] = []
    before = opcode.stack_before
    if pickletools.markobject in before:
        while (size := stack.pop()) is not None:
            taken.append(size)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        taken.append(stack.pop() or 1)
    return taken
