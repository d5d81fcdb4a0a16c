"""Nodes that cost time and say nothing, out of a graph: copies of large matrices, above all.

A transposed matrix that several Gemms read is written down by engines, though each could read it
as it is; and so is one that gets an axis and loses it again, where a loop hands it on.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from dualhmr_export.adaptation_graph.pieces import Piece, PieceModule
from dualhmr_export.onnx_files import quiet_exporter

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


OPSET = 18


class Fragment(NamedTuple):
    """A piece's graph."""

    graph: onnx.GraphProto
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    """What the outputs of `graph` are, in order."""


def fragment_of(piece: Piece, *, free: str | None = None) -> Fragment:
    """Traces `piece`; the first dimension of what it reads as `free` may be any."""
    with torch.no_grad():
        module = PieceModule(piece)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} if name == free else None for name in module.reads)
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(piece.example.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(module.reads),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    assert not model.functions
    tidy(model.graph)
    return Fragment(model.graph, module.reads, module.makes)


Names = dict[str, str]
"""What a piece calls its tensors -> what the graph calls them."""


def renamed(
    fragment: Fragment, given: Names, names: Names, prefix: str
) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Its nodes, each also with the graph's names; who takes them adds theirs to `names`."""
    names |= {"": ""} | {name: given[name] for name in fragment.reads}
    for original in fragment.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.name, node.doc_string = f"{prefix}/{original.name}", ""
        del node.metadata_props[:]
        node.input[:] = [names[name] for name in original.input]
        node.output[:] = [f"{prefix}/{name}" for name in original.output]
        yield original, node


def as_outputs(body: list[onnx.NodeProto], results: list[str], prefix: str) -> list[str]:
    """The results, each made by a node of the body and named once, as outputs of it must be."""
    made = {name for node in body for name in node.output}
    ends: list[str] = []
    for result in results:
        end = result
        if result not in made or result in ends:
            end = f"{prefix}/end_{len(ends)}"
            body.append(helper.make_node("Identity", [result], [end]))
        ends.append(end)
    return ends
