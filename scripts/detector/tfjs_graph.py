"""Reads a TensorFlow.js graph model: a JSON file of nodes, and a file of weights.

The layout is that of `tensorflowjs_converter`: `modelTopology` is TensorFlow's GraphDef as JSON,
and `weightsManifest` lists the weights in the order in which their numbers follow each other.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_STORED = {"float32": "<f4", "int32": "<i4", "float16": "<f2"}


class Node(NamedTuple):
    """One operation."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    """Names of nodes; `name:1` is a second output."""
    attributes: Mapping[str, Any]
    """Numbers, text, and lists of them."""


class TensorflowGraph(NamedTuple):
    """Nodes in an order in which they can run, and the values of those that are constants."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[Any]]
    """As they are stored: float16 where the file has it."""


def read_graph(model: bytes, weights: bytes) -> TensorflowGraph:
    """The graph of a model's JSON file and of its one file of weights.

    Raises ValueError for weights of another kind than float32, float16 and int32, or of another
    size than the model says.
    """
    document = json.loads(model)
    constants: dict[str, npt.NDArray[Any]] = {}
    offset = 0
    for group in document["weightsManifest"]:
        for entry in group["weights"]:
            stored = entry.get("quantization", entry)["dtype"]
            if stored not in _STORED:
                raise ValueError(
                    f"weight {entry['name']} is stored as {stored}, expected {_STORED}"
                )
            values = np.frombuffer(weights, _STORED[stored], math.prod(entry["shape"]), offset)
            offset += values.nbytes
            constants[entry["name"]] = values.reshape(entry["shape"])
    if offset != len(weights):
        raise ValueError(f"the model says {offset} bytes of weights, the file has {len(weights)}")
    nodes = tuple(
        Node(
            each["name"],
            each["op"],
            tuple(each.get("input", ())),
            {name: _value(value) for name, value in each.get("attr", {}).items()},
        )
        for each in document["modelTopology"]["node"]
        if each["op"] != "Const"
    )
    return TensorflowGraph(nodes, constants)


def _value(attribute: Mapping[str, Any]) -> Any:
    """A protobuf AttrValue in JSON: 64-bit integers are text there, and text is base64."""
    if "list" in attribute:
        return [_value({kind: item}) for kind, items in attribute["list"].items() for item in items]
    if "i" in attribute:
        return int(attribute["i"])
    if "s" in attribute:
        return base64.b64decode(attribute["s"]).decode()
    return next(iter(attribute.values()), None)
