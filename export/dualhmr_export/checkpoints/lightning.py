"""Lightning checkpoints as data: objects of any class become inert, tensors are read one by one.

Beside the weights such a file has the configuration of its training, as objects of whatever library
that used, and perhaps the optimiser's state, twice as large as the weights. `read_checkpoint` would
refuse the one and read all of the other.
"""

import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualhmr.body.smpl_pickle import Record, check_opcodes
from dualhmr.untrusted import brief, check_shape, check_size

_REFUSED_OPCODES = ("EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER")
_REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2")
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}


class StandIn(Record):
    """Takes the place of an object of any class, and keeps what the pickle puts into it."""

    entries: dict[Any, Any]
    """Of an object that is some kind of dict."""

    def __new__(cls, *arguments: Any, **_named: Any) -> Any:
        """Keeps the arguments, and runs nothing."""
        record = super().__new__(cls, *arguments)
        record.entries = {}  # type: ignore[attr-defined]
        return record

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, element: Any) -> None:
        """Of a list of some kind: no list of a configuration is needed."""

    def extend(self, elements: Any) -> None:
        """As `append`."""

    def add(self, element: Any) -> None:
        """Of a set of some kind."""


class _StoredNumbers(Record):
    """Where a tensor's numbers are: `("storage", class, key, location, count)`."""


class _StandInUnpickler(pickle.Unpickler):
    """Makes no object of a class that the file names, whatever it is."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self._classes: dict[tuple[str, str], type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> type[StandIn]:
        """A class of its own for every name."""
        if (module, name) not in self._classes:
            made = type(name[:80], (StandIn,), {"__module__": module[:80]})
            self._classes[module, name] = made
        return self._classes[module, name]

    def persistent_load(self, pid: Any) -> _StoredNumbers:
        """A storage, which stays in the file."""
        return _StoredNumbers(*pid)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that stays in its file until it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class LightningCheckpoint:
    """The parts of a file that importers read."""

    path: Path
    content: Mapping[Any, Any]
    """All entries at the top level; objects are `StandIn`s."""
    tensors: Mapping[str, StoredTensor]
    """Those of `state_dict`, by name."""


def open_lightning(path: Path) -> LightningCheckpoint | None:
    """The checkpoint in a file; None for one that is no archive with a `state_dict`.

    Raises ValueError for a `state_dict` that holds anything but tensors.
    """
    content: Any = None
    with suppress(Exception):  # damaged, or of another kind: `read_checkpoint` says what is wrong
        prefix, content = _read_pickle(path)
    if not isinstance(content, dict) or "state_dict" not in content:
        return None
    state = entries_of(content["state_dict"])
    if state is None:
        raise ValueError(f"{path}: state_dict is no dict, expected tensors by name")
    tensors = {}
    for name, value in state.items():
        try:
            if not isinstance(name, str):
                raise ValueError("a name that is no text")
            tensors[name] = _stored_tensor(path, prefix, value)
        except Exception as error:  # a hostile record can hold anything
            raise ValueError(
                f"{path}: state_dict: {brief(name)} is no tensor, which was expected; nothing in "
                f"the file was run: {brief(error)}"
            ) from error
    return LightningCheckpoint(path, content, tensors)


def entries_of(value: object) -> dict[Any, Any] | None:
    """A dict's, or those of an object that is some kind of dict; None for anything else."""
    if isinstance(value, StandIn):
        return value.entries
    return value if isinstance(value, dict) else None


def _read_pickle(path: Path) -> tuple[str, Any]:
    """What precedes the names in the archive, and what its pickle holds."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        check_size(sum(each.file_size for each in members), os.fstat(file.fileno()).st_size)
        (pickled,) = (each for each in members if each.filename.endswith("/data.pkl"))
        _check_stored(pickled)
        program = archive.read(pickled)
        prefix = pickled.filename.removesuffix("data.pkl")
        order = f"{prefix}byteorder"
        if order in archive.namelist() and archive.read(order).strip() != b"little":
            raise ValueError("its numbers are big-endian")
    check_opcodes(io.BytesIO(program), refused=_REFUSED_OPCODES)
    return prefix, _StandInUnpickler(io.BytesIO(program)).load()


def _check_stored(member: zipfile.ZipInfo) -> None:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename[:80]} is compressed, which torch.save never does")


def _stored_tensor(path: Path, prefix: str, record: Any) -> StoredTensor:
    """From `_rebuild_tensor_v2(storage, offset, shape, stride, ...)`, or a parameter of one."""
    if _function(record) == "_rebuild_parameter":
        record = record.arguments[0]
    if _function(record) not in _REBUILDERS:
        raise ValueError(f"it is made by {type(record).__module__}.{type(record).__qualname__}")
    storage, offset, shape, stride = record.arguments[:4]
    if not isinstance(storage, _StoredNumbers):
        raise ValueError("its numbers are not in the archive")
    _, kind, key, _, count = storage.arguments
    check_shape(shape)
    check_shape(stride)
    check_shape((offset, count))
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= count:
        raise ValueError(f"it reaches to number {last} of {count}")
    dtype = _STORAGES[kind.__name__]

    def read() -> Tensor:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{prefix}data/{key}")
            _check_stored(member)
            if member.file_size != count * dtype.itemsize:
                raise ValueError(
                    f"{path}: {member.filename[:80]} has {member.file_size} bytes, expected "
                    f"{count} numbers of {dtype}; get the file again"
                )
            numbers = torch.frombuffer(bytearray(archive.read(member)), dtype=dtype)
        return numbers.as_strided(shape, stride, offset)

    return StoredTensor(dtype, shape, read)


def _function(record: Any) -> str:
    """The name of torch's function that makes the object."""
    kind = type(record)
    return (
        kind.__name__ if isinstance(record, StandIn) and kind.__module__ == "torch._utils" else ""
    )
