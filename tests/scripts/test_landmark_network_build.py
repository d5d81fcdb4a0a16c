"""The reader of TensorFlow Lite files, on a file that is written here."""

import numpy as np
import pytest
from scripts.landmark_network.build import landmark_weights
from scripts.landmark_network.tflite_graph import (
    Operator,
    operators_before,
    read_graph,
)

from dualhmr.networks.landmark_network import LandmarkNetwork

flatbuffers = pytest.importorskip("flatbuffers")

FLOAT16, CONV, DEQUANTIZE, ADD = 1, 3, 6, 0


def written(
    tensors: list[np.ndarray | None], operators: list[tuple[int, list[int], list[int]]]
) -> bytes:
    """A file of float16 constants (None: computed) and of operators; the last tensor is read."""
    builder = flatbuffers.Builder(1024)

    def numbers(values: list[int]) -> int:
        return int(builder.CreateNumpyVector(np.array(values, np.int32)))

    def table(**fields: int) -> int:
        """Fields by number and kind, as `f0o` for an offset in field 0, `f1b` for a byte."""
        builder.StartObject(8)
        for name, value in fields.items():
            field, kind = int(name[1]), name[2]
            if kind == "o":
                builder.PrependUOffsetTRelativeSlot(field, value, 0)
            elif kind == "b":
                builder.PrependInt8Slot(field, value, 0)
            else:
                builder.PrependUint32Slot(field, value, 0)
        return int(builder.EndObject())

    def tables(offsets: list[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    data = [b"" if each is None else each.tobytes() for each in tensors]
    buffers = tables([table(f0o=builder.CreateByteVector(each)) for each in data])
    kinds = sorted({kind for kind, _, _ in operators})
    codes = tables([table(f0b=kind) for kind in kinds])
    shapes = [numbers([] if each is None else list(each.shape)) for each in tensors]
    rows = tables([table(f0o=at, f1b=FLOAT16, f2u=index) for index, at in enumerate(shapes)])
    steps = [
        table(f0u=kinds.index(kind), f1o=numbers(inputs), f2o=numbers(outputs))
        for kind, inputs, outputs in operators
    ]
    last = numbers([len(tensors) - 1])
    graph = table(f0o=rows, f2o=last, f3o=tables(steps))
    builder.Finish(table(f1o=codes, f2o=tables([graph]), f4o=buffers), b"TFL3")
    return bytes(builder.Output())


WEIGHT = np.arange(24, dtype=np.float16).reshape(2, 2, 2, 3)
BIAS = np.array([1, -0.5], np.float16)
# 0 the picture; 1, 2 constants; 3, 4 the same as float32; 5, 6 convolutions; 7 their sum.
TENSORS = [None, WEIGHT, BIAS, None, None, None, None, None]
OPERATORS = [
    (DEQUANTIZE, [1], [3]),
    (DEQUANTIZE, [2], [4]),
    (CONV, [0, 3, 4], [5]),
    (CONV, [0, 3, 4], [6]),
    (ADD, [5, 5], [7]),
]


def test_constants_and_operators_are_read() -> None:
    graph = read_graph(written(TENSORS, OPERATORS))
    np.testing.assert_array_equal(graph.constants[3], WEIGHT)
    np.testing.assert_array_equal(graph.constants[4], BIAS)
    assert graph.constants[3].dtype == np.float16
    assert graph.outputs == (7,)
    # The second convolution is of a branch that nobody asks for.
    assert operators_before(graph, {7}) == [
        Operator("conv", (0, 3, 4), (5,)),
        Operator("add", (5, 5), (7,)),
    ]


def test_other_files_and_operators_are_refused() -> None:
    with pytest.raises(ValueError, match="TFL3"):
        read_graph(b"no such file")
    with pytest.raises(ValueError, match="operator 98 is not one of BlazePose's"):
        read_graph(written(TENSORS, [*OPERATORS, (98, [7], [7])]))


def test_another_graph_than_the_networks_is_refused() -> None:
    graph = read_graph(written(TENSORS, OPERATORS))._replace(outputs=(7, 7, 7, 7, 7))
    needed = len(list(LandmarkNetwork().buffers()))
    with pytest.raises(ValueError, match=f"expected {needed}"):
        landmark_weights(graph)
