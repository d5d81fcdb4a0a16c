"""The writer of the detector's networks: a made-up TensorFlow graph against PyTorch."""

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from scripts.detector.onnx_graph import onnx_model
from scripts.detector.tfjs_graph import TensorflowGraph, read_graph
from torch.nn import functional

Weights = dict[str, npt.NDArray[Any]]


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def node(name: str, operator: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": operator, "input": list(inputs), "attr": attributes}


def convolution(
    name: str, operator: str, *inputs: str, stride: int = 1, fused: tuple[str, ...] = ()
) -> dict[str, Any]:
    return node(
        name,
        operator,
        *inputs,
        strides={"list": {"i": ["1", str(stride), str(stride), "1"]}},
        padding=text("SAME"),
        fused_ops={"list": {"s": [text(each)["s"] for each in fused]}},
    )


def made_weights() -> Weights:
    rng = np.random.default_rng(0)
    shapes = {"k1": (3, 3, 3, 8), "b1": (8,), "k2": (3, 3, 8, 1), "k3": (1, 1, 8, 5), "b3": (5,)}
    weights: Weights = {
        name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()
    }
    weights |= {"mean": np.zeros((1, 1, 1, 3), np.float16), "scale": np.float16([[[[0.008] * 3]]])}
    weights |= {"one": np.array(1, np.float16), "size": np.array([4, 4], np.int32)}
    return weights


def tiny_graph(weights: Weights, *extra: dict[str, Any]) -> TensorflowGraph:
    """A stride, a depthwise convolution, a head, doubled and added to itself."""
    nodes = [
        node("input", "Placeholder"),
        node("cast", "Cast", "input"),
        node("sub", "Sub", "cast", "mean"),
        node("mul", "Mul", "sub", "scale"),
        node("normal", "Sub", "mul", "one"),
        convolution(
            "c1", "_FusedConv2D", "normal", "k1", "b1", stride=2, fused=("BiasAdd", "Relu6")
        ),
        convolution("c2", "DepthwiseConv2dNative", "c1", "k2"),
        convolution("c3", "_FusedConv2D", "c2", "k3", "b3", fused=("BiasAdd", "Relu")),
        node("up", "ResizeBilinear", "c3", "size", half_pixel_centers={"b": True}),
        node("sum", "AddV2", "up", "up"),
        node("head", "Sigmoid", "sum"),
        *(node(name, "Const") for name in weights),
        *extra,
    ]
    entries: list[dict[str, Any]] = []
    for name, values in weights.items():
        entry = {"name": name, "shape": list(values.shape)}
        if values.dtype == np.float16:
            entry |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
        else:
            entry["dtype"] = "int32"
        entries.append(entry)
    document = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["w.bin"], "weights": entries}],
    }
    raw = b"".join(values.tobytes() for values in weights.values())
    return read_graph(json.dumps(document).encode(), raw)


def in_pytorch(weights: Weights, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    tensors = {name: torch.tensor(values.astype(np.float32)) for name, values in weights.items()}
    x = torch.tensor(image.astype(np.float32)).permute(0, 3, 1, 2) * float(weights["scale"].flat[0])
    x = functional.pad(x - 1, (0, 1, 0, 1))  # TensorFlow's "SAME" of even sizes
    kernel = tensors["k1"].permute(3, 2, 0, 1)
    x = functional.conv2d(x, kernel, tensors["b1"], stride=2).clamp(0, 6)
    kernel = tensors["k2"].permute(2, 3, 0, 1)
    x = functional.conv2d(x, kernel, padding=1, groups=8)
    kernel = tensors["k3"].permute(3, 2, 0, 1)
    x = functional.conv2d(x, kernel, tensors["b3"]).relu()
    x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return (2 * x).sigmoid()[0].numpy()


def run(graph: TensorflowGraph, image: npt.NDArray[np.uint8], *, eight_bits: bool) -> Any:
    model = onnx_model(graph, {"head": "head"}, eight_bits=eight_bits)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["head"], {"image": image})[0]


def test_the_graph_is_pytorchs() -> None:
    weights = made_weights()
    image = np.random.default_rng(1).integers(0, 255, (1, 32, 64, 3)).astype(np.uint8)
    expected = in_pytorch(weights, image)
    exact = run(tiny_graph(weights), image, eight_bits=False)
    assert exact.shape == expected.shape == (5, 32, 64)
    np.testing.assert_allclose(exact, expected, atol=1e-5)
    rounded = run(tiny_graph(weights), image, eight_bits=True)
    assert 0 < np.abs(rounded - expected).max() < 0.1


def test_eight_bits_are_exact_where_weights_are_whole_steps() -> None:
    weights = made_weights()
    rng = np.random.default_rng(2)
    for name in ("k1", "k3"):
        steps = rng.integers(-127, 128, weights[name].shape)
        steps[0, 0, 0] = 127
        weights[name] = (steps / 128).astype(np.float16)
    image = rng.integers(0, 255, (1, 32, 32, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        run(tiny_graph(weights), image, eight_bits=True), in_pytorch(weights, image), atol=1e-5
    )


def test_what_is_not_translated() -> None:
    weights = made_weights()
    odd = node("odd", "Softmax", "c3")
    with pytest.raises(ValueError, match="Softmax"):
        onnx_model(tiny_graph(weights, odd), {"head": "odd"}, eight_bits=False)
    elu = convolution("elu", "_FusedConv2D", "c2", "k3", "b3", fused=("BiasAdd", "Elu"))
    with pytest.raises(ValueError, match="Elu"):
        onnx_model(tiny_graph(weights, elu), {"head": "elu"}, eight_bits=False)
    with pytest.raises(ValueError, match="bytes of weights"):
        read_graph(
            json.dumps({"modelTopology": {"node": []}, "weightsManifest": []}).encode(), b"1234"
        )
