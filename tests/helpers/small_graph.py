"""ONNX files with small graphs, for tests of engines."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def write_graph(path: Path, *, persons: str | int = "N", bfloat16: bool = False) -> Path:
    """Reads `image` (N, 4, 3, 3) uint8 and `box_info` (N, 3).

    Gives `sums` (N, 3), the image's over its height and width plus `box_info`, and `doubled`
    (N, 3), twice that.
    """
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, [persons, 4, 3, 3]),
        helper.make_tensor_value_info("box_info", TensorProto.FLOAT, [persons, 3]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [persons, 3])
        for name in ("sums", "doubled")
    ]
    inside = TensorProto.BFLOAT16 if bfloat16 else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pixels", "axes"], ["total"], keepdims=0),
        helper.make_node("Add", ["total", "box_info"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["inside"], to=inside),
        helper.make_node("MatMul", ["inside", "two"], ["product"]),
        helper.make_node("Cast", ["product"], ["doubled"], to=TensorProto.FLOAT),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("two", inside, [3, 3], 2 * np.eye(3).ravel()),
    ]
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def small_inputs(persons: int) -> dict[str, np.ndarray]:
    """What such a graph reads."""
    rng = np.random.default_rng(persons)
    return {
        "image": rng.integers(0, 256, (persons, 4, 3, 3), dtype=np.uint8),
        "box_info": rng.normal(size=(persons, 3)).astype(np.float32),
    }
