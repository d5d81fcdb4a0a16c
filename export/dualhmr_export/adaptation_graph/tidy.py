"""Nodes that cost time and say nothing, out of a graph: copies of large matrices, above all.

A transposed matrix that several Gemms read is written down by engines, though each could read it
as it is; and so is one that gets an axis and loses it again, where a loop hands it on.
"""

from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

Constants = dict[str, npt.NDArray[Any]]

_INVERSE = {"Squeeze": "Unsqueeze", "Unsqueeze": "Squeeze"}


def tidy(graph: onnx.GraphProto) -> None:
    """In place; what the outputs are and are called stays."""
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    makers: dict[str, onnx.NodeProto] = {}
    same: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        before = makers.get(node.input[0]) if node.input else None
        if before is not None and _undoes(node, before, constants):
            same[node.output[0]] = before.input[0]
        if node.op_type == "Gemm":
            _read_as_it_is(node, makers)
        makers |= dict.fromkeys(node.output, node)
    for output in graph.output:
        output.name = same.get(output.name, output.name)
    _drop_unread(graph)


def _undoes(node: onnx.NodeProto, before: onnx.NodeProto, constants: Constants) -> bool:
    """Whether `node` removes the axes that `before` adds, or the other way round."""
    if _INVERSE.get(node.op_type) != before.op_type or len(node.input) != len(before.input):
        return False
    axes = [constants.get(each.input[-1]) for each in (node, before)]
    return all(each is not None and each.tolist() in (0, [0]) for each in axes)


def _read_as_it_is(gemm: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> None:
    for place, attribute in enumerate(("transA", "transB")):
        maker = makers.get(gemm.input[place])
        if maker is not None and maker.op_type == "Transpose":
            gemm.input[place] = maker.input[0]
            turned = 1 - next((each.i for each in gemm.attribute if each.name == attribute), 0)
            kept = [each for each in gemm.attribute if each.name != attribute]
            del gemm.attribute[:]
            gemm.attribute.extend([*kept, onnx.helper.make_attribute(attribute, turned)])


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
