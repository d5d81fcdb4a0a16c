"""Protobuf messages, read field by field where they lie: a message is a list of (number, value).

Only what a caller looks at is read, without a schema and without a package.
"""

import mmap
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields."""


class Field(NamedTuple):
    """One field of a message: a varint's value, or where the content of anything else lies."""

    number: int
    kind: int
    value: int
    start: int
    end: int


class ProtobufReader:
    """Reads the messages in `content`. Its methods raise ValueError for what is no message."""

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self.content = content

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between two positions."""
        at = start
        while at < end:
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            value, first = 0, at
            if not 0 < number < 1 << 29:
                raise ValueError(f"a field has the number {number}")
            if kind == VARINT:
                value, at = self._varint(at, end)
            elif kind == BYTES:
                length, first = self._varint(at, end)
                at = first + length
            elif kind in (FIXED32, FIXED64):
                at += 4 if kind == FIXED32 else 8
            else:
                raise ValueError(f"a field is of kind {kind}")
            if at > end:
                raise ValueError("it is cut short")
            yield Field(number, kind, value, first, at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """An integer, seven bits a byte, and where the next thing begins."""
        if at < end and (first := self.content[at]) < 0x80:  # nearly always
            return first, at + 1
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError("it is cut short")
            byte = self.content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, at
        raise ValueError("an integer of more than 10 bytes")

    def varints(self, field: Field) -> list[int]:
        """Packed integers, those of a shape: few."""
        numbers: list[int] = []
        at, end = self.message(field)
        while at < end and len(numbers) <= 32:
            value, at = self._varint(at, end)
            numbers.append(signed(value))
        return numbers

    @staticmethod
    def message(field: Field) -> tuple[int, int]:
        """Where the message lies that a field holds."""
        if field.kind != BYTES:
            raise ValueError(f"field {field.number} is of kind {field.kind}")
        return field.start, field.end

    def text(self, field: Field) -> str:
        """The text that a field holds."""
        start, end = self.message(field)
        return bytes(self.content[start:end]).decode("utf-8", "replace")


def signed(value: int) -> int:
    """A varint as a signed integer of 64 bits."""
    return value - (1 << 64) if value >> 63 else value
