"""A fragment's names and the whole graph's."""

from collections.abc import Iterator

import onnx
from onnx import helper

from dualhmr_export.adaptation_graph.fragment import Fragment

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
