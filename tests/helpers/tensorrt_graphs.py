"""Tiny ONNX graphs with what our networks have: 8-bit crops, a convolution, a linear layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import (
    ModelProto,
    TensorProto,
    checker,
    helper,
    load_from_string,
    numpy_helper,
    save,
)

FLOAT, HALF, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def graph(
    kind: int = FLOAT,
    *,
    persons: str | int = "N",
    height: str | int = 8,
    features: int = 4,
    pooling: str = "GlobalAveragePool",
) -> bytes:
    """`image` (N, 8, 8, 3) uint8 to `y` (N, 5) and `z` (N, features), computed in type `kind`."""
    rng = np.random.default_rng(0)
    domain = {"domain": "nobody.knows"} if pooling == "Unheard" else {}
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=kind, name="to_numbers"),
        helper.make_node("Transpose", ["x"], ["maps"], perm=[0, 3, 1, 2], name="channels_first"),
        helper.make_node("Conv", ["maps", "w"], ["c"], pads=[1, 1, 1, 1], name="convolution"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node(pooling, ["r"], ["p"], name="pooling", **domain),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "v", "b"], ["g"], name="linear"),
        helper.make_node("Cast", ["g"], ["y"], to=FLOAT, name="to_float"),
        helper.make_node("Cast", ["f"], ["z"], to=FLOAT, name="features_to_float"),
    ]

    def weights(name: str, *shape: int) -> TensorProto:
        values = rng.normal(size=shape) / 50
        return helper.make_tensor(name, kind, shape, values.astype(np.float32).ravel())

    return _model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [persons, height, 8, 3])],
        [
            helper.make_tensor_value_info("y", FLOAT, [persons, 5]),
            helper.make_tensor_value_info("z", FLOAT, [persons, features]),
        ],
        [weights("w", features, 3, 3, 3), weights("v", features, 5), weights("b", 5)],
    ).SerializeToString()


def write_with_weights_beside(path: Path, *, scale: float = 1.0) -> Path:
    """`graph` with its weights, times `scale`, in the file that bundles have for them."""
    model = load_from_string(graph(features=1000))
    for weights in model.graph.initializer:
        array = numpy_helper.to_array(weights) * np.float32(scale)
        weights.CopyFrom(numpy_helper.from_array(array, weights.name))
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    save(model, path, save_as_external_data=True, location=data.name, size_threshold=0)
    return path


def crops(persons: int, *, seed: int = 0) -> np.ndarray:
    """Inputs of `graph`."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (persons, 8, 8, 3), dtype=np.uint8)


def _model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], weights: Sequence[Any]
) -> ModelProto:
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("nobody.knows", 1)],
        ir_version=9,
    )
    checker.check_model(model)
    return model
