"""Reads the operators and constants of a TensorFlow Lite file, as far as BlazePose needs it.

The file is a FlatBuffer: a table starts with the distance back to its vtable, which holds the
offset of each field. Field numbers are those of TensorFlow Lite's published schema (version 3).
"""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_OPERATORS = {
    0: "add", 3: "conv", 4: "depthwise", 6: "dequantize", 14: "logistic", 17: "max_pool",
    22: "reshape", 23: "resize", 34: "pad",
}  # fmt: skip
_TYPES: dict[int, npt.DTypeLike] = {0: np.float32, 1: np.float16, 2: np.int32}


class Operator(NamedTuple):
    """One operation; tensors are numbers."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class TfliteGraph(NamedTuple):
    """Operators in the order in which they run, and the values of constants by tensor."""

    operators: tuple[Operator, ...]
    constants: Mapping[int, npt.NDArray[Any]]
    outputs: tuple[int, ...]


class _Table:
    def __init__(self, content: bytes, position: int) -> None:
        self._content, self._position = content, position

    def _number(self, form: str, position: int) -> int:
        return int(struct.unpack_from("<" + form, self._content, position)[0])

    def _field(self, field: int) -> int | None:
        """The position of a field's value; None where it has its default."""
        vtable = self._position - self._number("i", self._position)
        if 4 + 2 * field >= self._number("H", vtable):
            return None
        offset = self._number("H", vtable + 4 + 2 * field)
        return self._position + offset if offset else None

    def number(self, field: int, form: str) -> int:
        """A scalar field, in the notation of `struct`; 0 by default."""
        position = self._field(field)
        return 0 if position is None else self._number(form, position)

    def vector(self, field: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A field that is a vector of numbers; empty by default."""
        position = self._field(field)
        if position is None:
            return np.zeros(0, dtype)
        start = position + self._number("I", position)
        return np.frombuffer(self._content, dtype, self._number("I", start), start + 4)

    def tables(self, field: int) -> list["_Table"]:
        """A field that is a vector of tables."""
        position = self._field(field)
        if position is None:
            return []
        start = position + self._number("I", position)
        places = [start + 4 + 4 * index for index in range(self._number("I", start))]
        return [_Table(self._content, place + self._number("I", place)) for place in places]


def read_graph(content: bytes) -> TfliteGraph:
    """The one graph of a file; constants that are only cast to float32 keep their stored type.

    Raises ValueError for another format, or an operator or type that BlazePose does not have.
    """
    if content[4:8] != b"TFL3":
        raise ValueError("this is not a TensorFlow Lite file: it lacks the mark TFL3")
    model = _Table(content, struct.unpack_from("<I", content)[0])
    (graph,) = model.tables(2)
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    buffers = model.tables(4)
    constants = {
        index: values
        for index, tensor in enumerate(graph.tables(0))
        if (values := _constant(tensor, buffers)) is not None
    }
    operators = []
    for each in graph.tables(3):
        code = codes[each.number(0, "I")]
        if code not in _OPERATORS:
            raise ValueError(f"operator {code} is not one of BlazePose's")
        inputs, outputs = (tuple(each.vector(field, "<i4").tolist()) for field in (1, 2))
        if _OPERATORS[code] == "dequantize":
            constants[outputs[0]] = constants[inputs[0]]
        else:
            operators.append(Operator(_OPERATORS[code], inputs, outputs))
    return TfliteGraph(tuple(operators), constants, tuple(graph.vector(2, "<i4").tolist()))


def _constant(tensor: _Table, buffers: list[_Table]) -> npt.NDArray[Any] | None:
    values = buffers[tensor.number(2, "I")].vector(0, np.uint8)
    if not values.size:
        return None
    kind = tensor.number(1, "b")
    if kind not in _TYPES:
        raise ValueError(f"a constant has type {kind}, expected one of {sorted(_TYPES)}")
    return values.view(_TYPES[kind]).reshape(tensor.vector(0, "<i4"))


def operators_before(graph: TfliteGraph, tensors: set[int]) -> list[Operator]:
    """The operators that `tensors` depend on, in the order in which they run."""
    needed, kept = set(tensors), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    return kept[::-1]
