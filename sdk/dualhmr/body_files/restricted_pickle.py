"""Reads SMPL's `.pkl` files without running them.

A pickle is a program that may call anything it names. Here the names that occur in SMPL files lead
to inert records, never to the thing named, and every other name is refused. So the load makes
nothing but records, dicts, lists, tuples, strings and numbers; arrays are computed from them after.
"""

import io
import pickle
import pickletools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dualhmr.body_files.pickled_arrays import (
    Array,
    BufferArray,
    ChumpyArray,
    EncodedBytes,
    NumberFormat,
    OldObject,
    Record,
    SparseMatrix,
)

_RECORDS: dict[tuple[str, str], type[Record]] = {
    ("numpy", "dtype"): NumberFormat,
    ("numpy", "ndarray"): Record,
    ("_codecs", "encode"): EncodedBytes,
}
for _core in ("numpy.core", "numpy._core"):
    _RECORDS[f"{_core}.multiarray", "_reconstruct"] = Array
    _RECORDS[f"{_core}.multiarray", "scalar"] = Record
    _RECORDS[f"{_core}.numeric", "_frombuffer"] = BufferArray
for _builtins, _copyreg in (("__builtin__", "copy_reg"), ("builtins", "copyreg")):
    _RECORDS[_copyreg, "_reconstructor"] = OldObject
    # Chumpy's bookkeeping: base classes, sets of changed variables, index ranges.
    for _name in ("object", "set", "slice"):
        _RECORDS[_builtins, _name] = Record

_REFUSED_OPCODES = ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER")
_LARGEST_MEMO = 1_000_000
"""SMPL files note a few thousand objects; the interpreter makes room up to the largest number."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[Record]:
        """The record for a name; UnpicklingError for a name that SMPL files do not need."""
        record = _RECORDS.get((module, name))
        if record:
            return record
        if f"{module}.".startswith("scipy.sparse."):
            return SparseMatrix if name in ("csc_matrix", "csc_array") else Record
        if f"{module}.".startswith("chumpy."):
            return ChumpyArray
        raise pickle.UnpicklingError(f"the file asks for {module[:80]}.{name[:80]}")


def read_smpl_pickle(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of the named arrays that are in an SMPL `.pkl`.

    Raises ValueError when the file is damaged, names a type that an SMPL file does not need, or
    holds something else than numbers under one of `names`.
    """
    data = path.read_bytes()
    try:
        _check_opcodes(data)
        content = _RestrictedUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a hostile or damaged pickle can raise anything
        raise ValueError(
            f"{path}: not a readable SMPL pickle, nothing in it was run: {error}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dict of arrays, got {type(content).__name__}")
    return {name: _to_array(path, name, content[name]) for name in names if name in content}


def _check_opcodes(data: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _REFUSED_OPCODES:
            raise pickle.UnpicklingError("the file refers to objects outside of itself")
        if "PUT" in opcode.name and argument and argument > _LARGEST_MEMO:
            raise pickle.UnpicklingError(f"the file asks for memory of {argument} objects")


def _to_array(path: Path, name: str, value: object) -> npt.NDArray[Any]:
    try:
        if isinstance(value, Record):
            return value.to_array()
    except Exception as error:  # as above
        raise ValueError(f"{path}: {name} is {error}") from error
    raise ValueError(f"{path}: {name} is a {type(value).__name__}, expected an array")
