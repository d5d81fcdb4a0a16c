"""Pickles as Python 2 wrote them in protocol 2, opcode by opcode.

Python 3 has no opcode for Python 2's strings, and the classes of old files are not installed.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Global:
    """A name in a module."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """What a name returns for arguments."""

    function: Global
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Built:
    """An object that is given a state after it was made."""

    made: Call
    state: Any


@dataclass(frozen=True, eq=False)
class Object:
    """An instance of a class and its attributes; `old` the way of protocols 0 and 1."""

    cls: Global
    state: Any
    old: bool = True


def dumps_python2(value: Any) -> bytes:
    """`cPickle.dumps(value, protocol=2)`."""
    return b"\x80\x02" + _Writer().emit(value) + b"."


class _Writer:
    def __init__(self) -> None:
        self._noted = 0

    def emit(self, value: Any) -> bytes:
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            return self._whole(value)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        return self._noting(value) + self._note()

    def _noting(self, value: Any) -> bytes:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._string(value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.emit, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.emit, value)) + b"e"
        if isinstance(value, dict):
            items = (self.emit(key) + self.emit(item) for key, item in value.items())
            return b"}(" + b"".join(items) + b"u"
        if isinstance(value, set):
            return self._noting(Call(Global("__builtin__", "set"), (sorted(value),)))
        if isinstance(value, Global):
            return f"c{value.module}\n{value.name}\n".encode()
        if isinstance(value, Call):
            return self.emit(value.function) + self.emit(value.arguments) + b"R"
        if isinstance(value, Built):
            return self.emit(value.made) + self.emit(value.state) + b"b"
        if isinstance(value, Object):
            return self._object(value)
        if isinstance(value, np.dtype):
            made = Call(Global("numpy", "dtype"), (value.str[1:], 0, 1))
            state = (3, value.str[0], None, None, None, -1, -1, 0)
            return self._noting(Built(made, state))
        if isinstance(value, np.ndarray):
            empty = (Global("numpy", "ndarray"), (0,), "b")
            made = Call(Global("numpy.core.multiarray", "_reconstruct"), empty)
            fortran = value.flags.fnc
            data = value.tobytes("F" if fortran else "C")
            return self._noting(Built(made, (1, value.shape, value.dtype, fortran, data)))
        raise TypeError(type(value))

    def _object(self, value: Object) -> bytes:
        if value.old:
            arguments = (value.cls, Global("__builtin__", "object"), None)
            made = self.emit(Call(Global("copy_reg", "_reconstructor"), arguments))
        else:
            made = self.emit(value.cls) + b")\x81"
        return made + self.emit(value.state) + b"b"

    def _whole(self, value: int) -> bytes:
        if 0 <= value < 256:
            return b"K" + bytes([value])
        return b"J" + struct.pack("<i", value)

    def _text(self, text: str) -> bytes:
        if max(text, default="") < "\u0100":
            return self._string(text.encode("latin1"))
        encoded = text.encode()
        return b"X" + struct.pack("<I", len(encoded)) + encoded

    def _string(self, text: bytes) -> bytes:
        if len(text) < 256:
            return b"U" + bytes([len(text)]) + text
        return b"T" + struct.pack("<i", len(text)) + text

    def _note(self) -> bytes:
        self._noted += 1
        number = self._noted - 1
        return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)
