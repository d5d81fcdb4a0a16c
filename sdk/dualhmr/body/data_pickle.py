"""Reads pickles of plain data and arrays, joblib's too, without running them.

A small machine follows the pickle's instructions. It makes dicts, lists, tuples, text and numbers;
a name in the file stands for an inert record of `smpl_pickle`, never for the named object. Names
other than those of arrays and a few containers are refused. Nothing is imported or called.

joblib writes the bytes of an array into the middle of the pickle, right after the object that
describes it. Python's own unpickler, in C, reads ahead and cannot stop there.
"""

import io
import math
import os
import pickletools
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from dualhmr.body.smpl_pickle import (
    NUMPY_RECORDS,
    EncodedBytes,
    NumberFormat,
    Record,
    array_from_bytes,
)
from dualhmr.untrusted import check_shape, check_size, one_value_error

_MOST_OPCODES = 50_000_000
_LARGEST_MEMO = 1 << 26
_DEEPEST = 4
"""Pickles within a pickle: joblib's arrays of objects."""
_ZLIB, _GZIP = b"\x78", b"\x1f\x8b"
_OTHER_COMPRESSIONS = {
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22M\x18": "lz4",
}
_DTYPE = re.compile(r"(?:([biufcMm])(\d{1,2})|([SU])(\d{1,6}))")


class Ordered(Record):
    """`collections.OrderedDict` and `defaultdict`: the pickle fills them item by item."""

    def __init__(self, *_arguments: Any) -> None:
        self.items: dict[Any, Any] = {}


class JoblibArray(Record):
    """`joblib.numpy_pickle.NumpyArrayWrapper`, and the array that follows it in the file."""

    array: npt.NDArray[Any] | None = None
    objects: Any = None
    """Of an array of Python objects: the record of NumPy's own pickle."""

    def to_array(self) -> npt.NDArray[Any]:
        """The numbers. Raises ValueError where there are none."""
        if self.array is None:
            raise ValueError("an array of objects, expected real numbers")
        return self.array


_RECORDS: dict[tuple[str, str], type[Record]] = NUMPY_RECORDS | {
    ("_codecs", "encode"): EncodedBytes,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): JoblibArray,
    ("collections", "OrderedDict"): Ordered,
    ("collections", "defaultdict"): Ordered,
    ("builtins", "dict"): Record,
    ("builtins", "list"): Record,
    ("pathlib", "PosixPath"): Record,
    ("pathlib", "WindowsPath"): Record,
}


def read_data_pickle(path: Path, *, limit_bytes: int) -> Any:
    """What a `.pkl` file holds, of pickle or joblib, as it is or compressed by zlib or gzip.

    Arrays are `Record`s with `to_array()`. Raises OSError if the file cannot be opened, ValueError
    if it is damaged, asks for anything but data, or has more than `limit_bytes` once decompressed.
    """
    with (
        path.open("rb") as file,
        one_value_error(path, "not a readable pickle of plain data, nothing in it was run"),
    ):
        check_size(os.fstat(file.fileno()).st_size, limit_bytes)
        return load_data(_decompressed(file.read(limit_bytes), limit_bytes))


def load_data(content: bytes) -> Any:
    """The value of a pickle. Raises ValueError, or anything else for a damaged one."""
    return _Machine(io.BytesIO(content)).run()


def _decompressed(content: bytes, limit_bytes: int) -> bytes:
    for magic, name in _OTHER_COMPRESSIONS.items():
        if content.startswith(magic):
            raise ValueError(f"it is compressed by {name}; write it again with zlib or as it is")
    if not content.startswith((_ZLIB, _GZIP)):
        return content
    inflate = zlib.decompressobj(wbits=47)  # zlib's header or gzip's
    plain = inflate.decompress(content, limit_bytes + 1)
    check_size(len(plain), limit_bytes)
    if not inflate.eof:
        raise ValueError("its compressed content is cut short")
    return plain


_MARK = object()


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, file: IO[bytes], *, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"pickles are nested more than {_DEEPEST} deep")
        self._file, self._depth = file, depth
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Follows the instructions up to the last."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._file)):
            if count > _MOST_OPCODES:
                raise ValueError(f"it has more than {_MOST_OPCODES} instructions")
            if opcode.name == "STOP":
                return self.pop()
            if opcode.name in _VALUES:
                self._stack.append(argument)
            elif opcode.name not in _IGNORED:
                run = _INSTRUCTIONS.get(opcode.name)
                if run is None:
                    raise ValueError(f"it uses the instruction {opcode.name}")
                run(self, argument)
        raise ValueError("it is cut short")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        """The topmost value; ValueError for a mark."""
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value has to be")
        return value

    def last(self, count: int) -> tuple[Any, ...]:
        """Removes and returns the topmost values, the lowest first."""
        return tuple(self.pop() for _ in range(count))[::-1]

    def marked(self) -> list[Any]:
        """Removes and returns the values above the last mark."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark where one has to be")
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def put(self, key: int | None) -> None:
        if key is not None and key > _LARGEST_MEMO:
            raise ValueError(f"it asks for memory of {key} objects")
        self._memo[len(self._memo) if key is None else key] = self._stack[-1]

    def get(self, key: int) -> None:
        self._stack.append(self._memo[key])

    def add_items(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        items = target.items if isinstance(target, Ordered) else target
        if type(items) is not dict or len(pairs) % 2:
            raise ValueError("items of something that is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # The hash of nested tuples can take for ever.
            if not isinstance(key, str | int | float | bytes | None):
                raise ValueError(f"a dict with a {type(key).__name__} as a key")
            items[key] = value

    def make_dict(self, pairs: list[Any]) -> None:
        self._stack.append({})
        self.add_items(pairs)

    def extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise ValueError("elements of something that is no list")
        self._stack[-1].extend(values)

    def name(self, module: object, name: object) -> None:
        record = _RECORDS.get((str(module), str(name)))
        if record is None:
            raise ValueError(f"it asks for {str(module)[:80]}.{str(name)[:80]}")
        self._stack.append(record)

    def make(self, arguments: object, record: object) -> None:
        if not (isinstance(record, type) and issubclass(record, Record)):
            raise ValueError("an object of something that is no class")
        if not isinstance(arguments, tuple):
            raise ValueError("an object without arguments")
        self._stack.append(record(*arguments))

    def build(self, state: Any) -> None:
        """Sets the state of an object; the array of one of joblib's follows in the file."""
        target = self._stack[-1]
        if not isinstance(target, Record):
            raise ValueError("a state of something that is no object")
        target.__setstate__(state)
        if isinstance(target, JoblibArray):
            self._read_array(target)

    def _read_array(self, wrapper: JoblibArray) -> None:
        state = wrapper.state
        if not isinstance(state, dict) or not isinstance(state.get("dtype"), NumberFormat):
            raise ValueError("an array without a dtype")
        number_format, shape = state["dtype"], state.get("shape")
        if number_format.arguments[0] in ("O8", "O4", "O"):
            wrapper.objects = _Machine(self._file, depth=self._depth + 1).run()
            return
        if not isinstance(shape, tuple):
            raise ValueError("an array without a shape")
        check_shape(shape)
        if state.get("numpy_array_alignment_bytes") is not None:
            (padding,) = self._read(1)
            self._read(padding)
        content = self._read(math.prod(shape) * _item_size(number_format))
        if number_format.arguments[0][0] in "iuf":
            order = "F" if state.get("order") == "F" else "C"
            wrapper.array = array_from_bytes(content, number_format, shape, order)

    def _read(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) != size:
            raise ValueError(f"cut short, {size - len(content)} bytes of an array are missing")
        return content


def _item_size(number_format: NumberFormat) -> int:
    """Bytes of one element of numbers, truth values, dates or text."""
    code = number_format.arguments[0] if number_format.arguments else None
    match = _DTYPE.fullmatch(code) if isinstance(code, str) else None
    if match is None:
        raise ValueError("an array of a dtype that is neither numbers nor text")
    kind, size, text, length = match.groups()
    return int(size) if kind else int(length) * (4 if text == "U" else 1)


_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Instructions that push their argument."""
_IGNORED = {"PROTO", "FRAME"}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": lambda machine, _: machine.push(_MARK),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "LIST": lambda machine, _: machine.push(machine.marked()),
    "DICT": lambda machine, _: machine.make_dict(machine.marked()),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "SETITEM": lambda machine, _: machine.add_items(list(machine.last(2))),
    "SETITEMS": lambda machine, _: machine.add_items(machine.marked()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(None),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.last(2)),
    "REDUCE": lambda machine, _: machine.make(machine.pop(), machine.pop()),
    "NEWOBJ": lambda machine, _: machine.make(machine.pop(), machine.pop()),
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
}
