"""A bfloat16 graph as a float32 one that rounds as it does, for engines without bfloat16.

ONNX Runtime's CPU provider has no bfloat16 convolution. With the graph's own weights, and every
result rounded to bfloat16 where the graph computes in it, float32 arithmetic gives what an engine
gives that adds up in float32, as GPUs do.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def rounding_in_float32(path: Path) -> bytes:
    """The ONNX file in `path` rewritten, serialised; without bfloat16 but for the roundings."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    rounded = {each.name for each in graph.value_info if _is_bfloat16(each)}
    for weights in graph.initializer:
        if weights.data_type == TensorProto.BFLOAT16:
            exact = numpy_helper.to_array(weights).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(exact, weights.name))
    nodes = []
    for node in graph.node:
        _cast_to_float32(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in rounded:
                node.output[index] = f"{name}_exact"
                nodes += _rounding(f"{name}_exact", name)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def _is_bfloat16(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.BFLOAT16


def _cast_to_float32(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
            attribute.i = TensorProto.FLOAT


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    middle = f"{target}_bfloat16"
    return [
        helper.make_node("Cast", [source], [middle], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", [middle], [target], to=TensorProto.FLOAT),
    ]
