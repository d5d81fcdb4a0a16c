"""What an ONNX file may hold, checked before an engine sees it.

Bundles hold graphs of ONNX's own operators with all weights inside, or, where these are too large
for that, in the file `X.onnx.data` beside `X.onnx`. ONNX can do more: keep weights in other files,
by any path or by an address in memory; run operators that open files; claim tensors of any size.
Engines follow, and ONNX Runtime has no option that refuses it, not for a graph in memory either. So
the file is walked through here, without the package `onnx`, which users do not have: a protobuf
message is a list of (number, value), and only what is checked is looked at.

What protobuf would merge or skip in ways that a reader could miss is refused, so that an engine
reads in the file what was checked.
"""

import math
import mmap
from collections import ChainMap
from pathlib import Path

from dualhmr.engines.protobuf import BYTES, VARINT, ProtobufReader, signed
from dualhmr.untrusted import brief

_MOST_BYTES = (1 << 31) - 1
"""Of one protobuf message."""
_MOST_VALUES = 1 << 24
"""Of one person's input or output: 64 MB."""
_MOST_CONSTANTS = 1 << 28
"""Numbers that a node makes or repeats, where a constant says how many: 1 GB."""
_MOST_TURNS = 100_000
"""Of a loop whose count is a constant."""
_DEEPEST = 8
"""Graphs within graphs; those of an adaptation have two levels."""
_MOST_SHAPE_NUMBERS = 16
_BYTES_EACH = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""By the number of an element type: numbers of 1 to 8 bytes and booleans, not text."""
_INT32, _INT64 = 6, 7
_TYPED_DATA = (4, 5, 7, 10, 11)
# Which input of an operator says how large its result is.
_SIZES = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}


_Constants = ChainMap[str, list[int]]
"""Integers of small tensors, by name."""


def check_onnx(path: Path) -> None:
    """Raises ValueError unless the file is one graph of ONNX's own operators with its weights.

    The sizes of inputs, outputs and weights, and the constants that size other tensors, are bounded
    too. Whether the graph can run is the engine's to say. Raises FileNotFoundError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise ValueError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _Walk(content, path.with_name(f"{path.name}.data")).model()
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged or not a graph that a bundle may hold: {error}; export it again"
        ) from error


def onnx_metadata(path: Path) -> dict[str, str]:
    """The facts that the writer of a file, which `check_onnx` has checked, stored in it."""
    content = path.read_bytes()
    reader, facts = ProtobufReader(content), {}
    for field in reader.fields(0, len(content)):
        if field.number == 14:
            pair = {
                part.number: reader.text(part) for part in reader.fields(field.start, field.end)
            }
            facts[pair.get(1, "")] = pair.get(2, "")
    return facts


class _Walk:
    def __init__(self, content: mmap.mmap, data: Path) -> None:
        """`data`: the only other file that may have weights."""
        self._reader, self._size = ProtobufReader(content), len(content)
        self._data = data
        self._data_size = data.stat().st_size if data.is_file() else 0

    def model(self) -> None:
        size = self._size
        if size > _MOST_BYTES:
            raise ValueError(f"{size} bytes, at most {_MOST_BYTES} are read")
        graphs = []
        for field in self._reader.fields(0, size):
            if field.number == 7:
                graphs.append(self._reader.message(field))
            elif field.number in (20, 25):
                raise ValueError("it has functions or training information of its own")
        if len(graphs) != 1:
            raise ValueError(f"it holds {len(graphs)} graphs, expected one")
        self._graph(*graphs[0], ChainMap(), depth=0)

    def _graph(self, start: int, end: int, outer: _Constants, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"its graphs are nested more than {_DEEPEST} deep")
        constants, nodes = outer.new_child(), []
        for field in self._reader.fields(start, end):
            if field.number == 1:
                nodes.append(self._reader.message(field))
            elif field.number == 5:
                name, numbers = self._tensor(*self._reader.message(field), may_lie_outside=True)
                constants[name] = numbers
            elif field.number in (11, 12):
                self._value(*self._reader.message(field))
            elif field.number == 15:
                raise ValueError("it has sparse tensors")
        for node in nodes:
            self._node(*node, constants, depth)

    def _node(self, start: int, end: int, constants: _Constants, depth: int) -> None:
        inputs, outputs, operator, domain, made = [], [], "", "", None
        subgraphs = []
        for field in self._reader.fields(start, end):
            if field.number == 1:
                inputs.append(self._reader.text(field))
            elif field.number == 2:
                outputs.append(self._reader.text(field))
            elif field.number == 4:
                operator = self._reader.text(field)
            elif field.number == 7:
                domain = self._reader.text(field)
            elif field.number == 5:
                value, graphs = self._attribute(*self._reader.message(field))
                made = value if value else made
                subgraphs += graphs
        if domain not in ("", "ai.onnx"):
            raise ValueError(f"it runs {brief(operator)} of {brief(domain)}, not an ONNX operator")
        if operator == "Constant" and made and outputs:
            constants[outputs[0]] = made
        self._check_sizes(operator, [constants.get(name, []) for name in inputs])
        for graph in subgraphs:
            self._graph(*graph, constants, depth=depth + 1)

    @staticmethod
    def _check_sizes(operator: str, inputs: list[list[int]]) -> None:
        """Only where a constant is the size: a graph can compute one that nobody knows before."""
        if operator in _SIZES and len(inputs) > _SIZES[operator]:
            shape = inputs[_SIZES[operator]]
            if math.prod(max(abs(length), 1) for length in shape) > _MOST_CONSTANTS:
                raise ValueError(f"{operator} makes a tensor of shape {brief(shape)}")
        if operator == "Loop" and inputs and inputs[0] and inputs[0][0] > _MOST_TURNS:
            raise ValueError(f"a loop takes {inputs[0][0]} turns, at most {_MOST_TURNS} may be")

    def _attribute(self, start: int, end: int) -> tuple[list[int], list[tuple[int, int]]]:
        """The integers that it holds, if few, and its graphs."""
        numbers: list[int] = []
        graphs, tensors = [], 0
        for field in self._reader.fields(start, end):
            if field.number in (5, 10):  # a tensor, and several
                tensors += field.number == 5
                numbers += self._tensor(*self._reader.message(field))[1]
            elif field.number in (6, 11):
                graphs.append(self._reader.message(field))
            elif field.number in (3, 8):
                if field.kind == VARINT:
                    numbers.append(signed(field.value))
                else:
                    numbers += self._reader.varints(field)
            elif field.number in (22, 23):
                raise ValueError("it has sparse tensors")
        if tensors > 1:
            raise ValueError("an attribute holds two values")
        return numbers[: _MOST_SHAPE_NUMBERS + 1], graphs

    def _tensor(
        self, start: int, end: int, *, may_lie_outside: bool = False
    ) -> tuple[str, list[int]]:
        """Its name, and its numbers if they are few integers that lie inside."""
        shape: list[int] = []
        name, kind, raw, typed = "", 0, None, 0
        place: dict[str, str] = {}
        outside = False
        numbers: list[int] = []
        for field in self._reader.fields(start, end):
            if field.number == 1:
                shape += (
                    [signed(field.value)] if field.kind == VARINT else self._reader.varints(field)
                )
            elif field.number == 2:
                kind = field.value
            elif field.number == 8:
                name = self._reader.text(field)
            elif field.number == 9:
                raw = self._reader.message(field)
            elif field.number in _TYPED_DATA:
                typed += max(field.end - field.start, field.kind != BYTES)
                if field.number in (5, 7) and typed <= 10 * _MOST_SHAPE_NUMBERS:
                    packed = field.kind == BYTES
                    numbers += self._reader.varints(field) if packed else [signed(field.value)]
            elif field.number == 13 and may_lie_outside:
                self._entry(*self._reader.message(field), place)
            elif field.number == 14 and may_lie_outside and field.value == 1:
                outside = True
            elif field.number == 13 or (field.number == 14 and field.value != 0):
                raise ValueError(f"the data of {brief(name)} lies outside of the file")
        if kind not in _BYTES_EACH or any(length < 0 for length in shape) or len(shape) > 32:
            raise ValueError(f"{brief(name)} is a tensor of type {kind} and shape {brief(shape)}")
        count = math.prod(shape)
        if outside or place:
            if not outside or raw is not None or typed:
                raise ValueError(f"{brief(name)} has data inside and outside of the file")
            if kind in (_INT32, _INT64):  # they may be the size of another tensor
                raise ValueError(f"the integers of {brief(name)} lie outside of the file")
            self._check_place(name, place, count * _BYTES_EACH[kind])
            return name, numbers
        held = 0 if raw is None else raw[1] - raw[0]
        # Each number of typed data takes at least one byte.
        if held != count * _BYTES_EACH[kind] if raw is not None else typed < count:
            raise ValueError(
                f"{brief(name)} has shape {brief(shape)}, but {max(held, typed)} bytes of data"
            )
        if raw is not None and kind in (_INT32, _INT64) and count <= _MOST_SHAPE_NUMBERS:
            width = _BYTES_EACH[kind]
            data = self._reader.content[raw[0] : raw[1]]
            numbers = [
                int.from_bytes(data[at : at + width], "little", signed=True)
                for at in range(0, len(data), width)
            ]
        return name, numbers

    def _entry(self, start: int, end: int, place: dict[str, str]) -> None:
        """Adds a key and its value, both texts; each key at most once."""
        texts = {
            field.number: self._reader.text(field) for field in self._reader.fields(start, end)
        }
        if texts.keys() != {1, 2} or texts[1] in place:
            raise ValueError("a tensor's place outside of the file is said twice, or in no text")
        place[texts[1]] = texts[2]

    def _check_place(self, name: str, place: dict[str, str], size: int) -> None:
        numbers = [place.get("offset", "0"), place.get("length", "")]
        if (
            place.keys() - {"location", "offset", "length"}
            or place.get("location") != self._data.name
            or not all(number.isascii() and number.isdigit() for number in numbers)
            or any(len(number) > 15 for number in numbers)
        ):
            raise ValueError(
                f"the data of {brief(name)} lies outside of the file, at {brief(place)}, and not "
                f"in {self._data.name}"
            )
        offset, length = map(int, numbers)
        if length != size or offset + length > self._data_size:
            raise ValueError(
                f"{brief(name)} has {size} bytes, but lies at {offset} to {offset + length} of "
                f"{self._data.name}, which has {self._data_size}"
            )

    def _value(self, start: int, end: int) -> None:
        """An input or output: the type of a tensor with a bounded shape."""
        name, types = "", []
        for field in self._reader.fields(start, end):
            if field.number == 1:
                name = self._reader.text(field)
            elif field.number == 2:
                fields = self._reader.fields(*self._reader.message(field))
                types += [self._reader.message(each) for each in fields if each.number == 1]
        shape: list[int] = []
        for each in types:
            for field in self._reader.fields(*each):
                if field.number == 2:
                    shape += self._shape(*self._reader.message(field))
        if math.prod(max(length, 1) for length in shape) > _MOST_VALUES or len(shape) > 32:
            raise ValueError(f"{brief(name)} has shape {brief(shape)}")

    def _shape(self, start: int, end: int) -> list[int]:
        lengths = []
        for field in self._reader.fields(start, end):
            if field.number == 1:
                for each in self._reader.fields(*self._reader.message(field)):
                    if each.number == 1 and each.kind == VARINT:
                        lengths.append(signed(each.value))
        return lengths
