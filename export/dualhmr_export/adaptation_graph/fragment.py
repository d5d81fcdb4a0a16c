"""A piece as an ONNX graph: traced by PyTorch's exporter, simplified, and with names of its own."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from dualhmr_export.adaptation_graph.pieces import Piece, PieceModule
from dualhmr_export.onnx_files import trace

OPSET = 18
Constants = dict[str, npt.NDArray[Any]]

_INVERSE = {"Squeeze": "Unsqueeze", "Unsqueeze": "Squeeze"}


def simplify(graph: onnx.GraphProto) -> None:
    """Removes nodes that only copy large matrices, in place; outputs and their order stay.

    Engines store a transposed matrix that several Gemms read, though each Gemm can read it
    transposed. They also store a matrix that gets an axis and loses it again between two steps.
    """
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    makers: dict[str, onnx.NodeProto] = {}
    same: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        before = makers.get(node.input[0]) if node.input else None
        if before is not None and _undoes(node, before, constants):
            same[node.output[0]] = before.input[0]
        if node.op_type == "Gemm":
            _absorb_transposes(node, makers)
        makers |= dict.fromkeys(node.output, node)
    for output in graph.output:
        output.name = same.get(output.name, output.name)
    drop_unread(graph)


def _undoes(node: onnx.NodeProto, before: onnx.NodeProto, constants: Constants) -> bool:
    """Whether `node` removes the axes that `before` adds, or the other way round."""
    if _INVERSE.get(node.op_type) != before.op_type or len(node.input) != len(before.input):
        return False
    axes = [constants.get(each.input[-1]) for each in (node, before)]
    return all(each is not None and each.tolist() in (0, [0]) for each in axes)


def _absorb_transposes(gemm: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> None:
    """Reads the inputs of transposes by the Gemm's own `transA` and `transB`."""
    for place, attribute in enumerate(("transA", "transB")):
        maker = makers.get(gemm.input[place])
        if maker is not None and maker.op_type == "Transpose":
            gemm.input[place] = maker.input[0]
            flipped = 1 - next((each.i for each in gemm.attribute if each.name == attribute), 0)
            kept = [each for each in gemm.attribute if each.name != attribute]
            del gemm.attribute[:]
            gemm.attribute.extend([*kept, helper.make_attribute(attribute, flipped)])


def drop_unread(graph: onnx.GraphProto) -> None:
    """Removes nodes whose results nobody reads, in place."""
    read = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(inputs_of(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def inputs_of(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads; for a loop, also what its body reads."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from inputs_of(inner)


class Fragment(NamedTuple):
    """A piece's graph."""

    graph: onnx.GraphProto
    reads: tuple[str, ...]
    """The piece's names of the inputs of `graph`, in order."""
    results: tuple[str, ...]
    """The piece's names of the outputs of `graph`, in order."""


def fragment_of(piece: Piece, *, free: str | None = None) -> Fragment:
    """Traces `piece`; the first dimension of the input named `free` stays dynamic."""
    with torch.no_grad():
        module = PieceModule(piece)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} if name == free else None for name in module.reads)
    with torch.no_grad():
        program = trace(module, piece.example, shapes, opset=OPSET)
    model = program.model_proto
    assert not model.functions
    simplify(model.graph)
    return Fragment(model.graph, module.reads, module.results)


Names = dict[str, str]
"""A piece's names of its tensors -> the graph's names."""


def renamed(
    fragment: Fragment, inputs: Names, names: Names, prefix: str
) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """The fragment's nodes, each with a copy that has the graph's names.

    The caller places the copy, and adds the names of its outputs to `names` before the next one.
    """
    names |= {"": ""} | {name: inputs[name] for name in fragment.reads}
    for original in fragment.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.name, node.doc_string = f"{prefix}/{original.name}", ""
        node.input[:] = [names[name] for name in original.input]
        node.output[:] = [f"{prefix}/{name}" for name in original.output]
        yield original, node


def as_outputs(body: list[onnx.NodeProto], results: list[str], prefix: str) -> list[str]:
    """Names of `results` as outputs of a loop's body: each from a node, and no name twice."""
    made = {name for node in body for name in node.output}
    ends: list[str] = []
    for result in results:
        end = result
        if result not in made or result in ends:
            end = f"{prefix}/end_{len(ends)}"
            body.append(helper.make_node("Identity", [result], [end]))
        ends.append(end)
    return ends
