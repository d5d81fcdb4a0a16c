"""Writes the convolutional part of a TensorFlow graph as ONNX, with small weights.

Of MoveNet's operators only those between the input and its heads are translated: what finds people
in the heads' maps is written in NumPy (`sdk/dualhmr/detection/movenet_maps.py`), where it is not
bound to the graph's six people. Weights are float16 in the original. In the file they stay so, or
become 8-bit integers with one scale for each output channel; inside the graph both become float32,
which engines compute once, when they load it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from scripts.detector.tfjs_graph import Node, TensorflowGraph

OPSET = 17
IR_VERSION = 8
INPUT = "image"
_ACTIVATIONS = ("Relu", "Relu6")


def onnx_model(
    graph: TensorflowGraph, heads: Mapping[str, str], *, eight_bits: bool
) -> onnx.ModelProto:
    """The graph up to `heads`, names of nodes by names of outputs.

    Its input `image` is (1, H, W, 3) uint8 RGB, H and W multiples of 32; its outputs are
    (C, H/4, W/4). With `eight_bits`, convolutions between channels are rounded; others, and what
    is added, are a fiftieth of all weights and stay float16.

    Raises ValueError for operators and settings that are not translated.
    """
    writer = _Writer(graph, eight_bits=eight_bits)
    for name, node in heads.items():
        writer.add("Squeeze", [writer.tensor(node), writer.axes_0], output=name)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]) for name in heads
    ]
    size: list[str | int | None] = [1, "height", "width", 3]
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, size)
    made = helper.make_graph(writer.nodes, "movenet", [image], outputs, writer.initializers)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dualhmr",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Translates nodes on demand, from a head to the input. Tensors are (1, C, H, W)."""

    def __init__(self, graph: TensorflowGraph, *, eight_bits: bool) -> None:
        self._eight_bits = eight_bits
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._source = {node.name: node for node in graph.nodes}
        self._constants = graph.constants
        self._done: dict[str, str] = {}
        self.axes_0 = self._initializer(np.array([0], np.int64))
        self._doubled = self._initializer(np.array([1, 1, 2, 2], np.float32))
        self._limits = [self._initializer(np.array(each, np.float32)) for each in (0, 6)]

    def tensor(self, name: str) -> str:
        """The ONNX tensor of a TensorFlow node."""
        # Not by recursion, which would go as deep as the network.
        waiting = [name]
        while waiting:
            node = self._source[waiting[-1]]
            missing = [each for each in self._image_inputs(node) if each not in self._done]
            waiting += missing
            if not missing:
                waiting.pop()
                if node.name not in self._done:
                    self._done[node.name] = self._translated(node)
        return self._done[name]

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Adds a node; returns its output."""
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _image_inputs(self, node: Node) -> list[str]:
        """Those that are pictures or maps: not weights, and not the size to resize to."""
        inputs = node.inputs[:1] if node.operator == "ResizeBilinear" else node.inputs
        return [each for each in inputs if each not in self._constants]

    def _translated(self, node: Node) -> str:
        maps = [self._done[each] for each in self._image_inputs(node)]
        weights = [self._constants[each] for each in node.inputs if each in self._constants]
        if node.operator == "Placeholder":
            return INPUT
        if node.operator == "Cast":
            turned = self.add("Transpose", maps, perm=[0, 3, 1, 2])
            return self.add("Cast", [turned], to=TensorProto.FLOAT)
        if node.operator in ("Unpack", "Squeeze", "ExpandDims"):
            # They take the one picture out of the batch and put it back.
            return maps[0]
        if node.operator in ("Sub", "Mul") and len(maps) == 1:
            return self.add(node.operator, [*maps, self._constant(weights[0])])
        if node.operator == "AddV2" and len(maps) == 2:
            return self.add("Add", maps)
        if node.operator == "Sigmoid":
            return self.add("Sigmoid", maps)
        if node.operator == "ResizeBilinear" and node.attributes.get("half_pixel_centers"):
            # All of them double the size of a map.
            return self.add(
                "Resize",
                [*maps, "", self._doubled],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        if "Conv2d" in node.operator or "Conv2D" in node.operator:
            return self._convolution(node, maps[0], weights)
        raise ValueError(f"{node.operator} ({node.name}) is not translated")

    def _convolution(self, node: Node, image: str, weights: list[npt.NDArray[Any]]) -> str:
        depthwise = "Depthwise" in node.operator
        # TensorFlow's (height, width, in, out), or (height, width, in, 1) for one filter a channel.
        kernel = weights[0].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        stride, size = node.attributes["strides"][1], kernel.shape[-1]
        if set(node.attributes.get("dilations", [1])) != {1} or weights[0].shape[0] != size:
            raise ValueError(f"{node.name} is dilated or not square, which is not translated")
        # "SAME" for even sizes: what cannot be halved goes to the right and bottom.
        padding = max(size - stride, 0)
        before = padding // 2
        parameters = [self._kernel(kernel)]
        if len(weights) > 1:
            parameters.append(self._weights(weights[1]))
        made = self.add(
            "Conv",
            [image, *parameters],
            strides=[stride, stride],
            pads=[before, before, padding - before, padding - before],
            group=len(kernel) if depthwise else 1,
        )
        activations = [each for each in node.attributes.get("fused_ops", ()) if each != "BiasAdd"]
        if not activations:
            return made
        if len(activations) > 1 or activations[0] not in _ACTIVATIONS:
            raise ValueError(f"{node.name} ends in {activations}, expected one of {_ACTIVATIONS}")
        if activations[0] == "Relu":
            return self.add("Relu", [made])
        return self.add("Clip", [made, *self._limits])

    def _constant(self, values: npt.NDArray[Any]) -> str:
        """Of up to four axes, the last of which are the channels."""
        spread = values.reshape((1,) * (4 - values.ndim) + values.shape)
        return self._initializer(np.moveaxis(spread, -1, 1).astype(np.float32))

    def _kernel(self, kernel: npt.NDArray[Any]) -> str:
        if not self._eight_bits or kernel.shape[1] == 1:
            return self._weights(kernel)
        largest = np.abs(kernel.astype(np.float32)).max((1, 2, 3), keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        whole = self._initializer(np.rint(kernel / scale).astype(np.int8))
        factor = self._initializer(scale)
        return self.add("Mul", [self.add("Cast", [whole], to=TensorProto.FLOAT), factor])

    def _weights(self, values: npt.NDArray[Any]) -> str:
        half = self._initializer(np.ascontiguousarray(values, np.float16))
        return self.add("Cast", [half], to=TensorProto.FLOAT)

    def _initializer(self, values: npt.NDArray[Any]) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name
