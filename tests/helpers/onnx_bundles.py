"""Bundles whose ONNX files are changed, their hashes in the manifest too: as a stranger can."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx

from dualhmr.bundle import MANIFEST
from dualhmr.files import sha256


def edit_graph(folder: Path, file: str, change: Callable[[onnx.ModelProto], object]) -> Path:
    """Changes one ONNX file of the bundle in `folder`, and its hash in the manifest."""
    path = folder / file
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][file] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def rename_output(model: onnx.ModelProto, old: str, new: str) -> None:
    """The same graph with another name for an output."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for output in model.graph.output:
        if output.name == old:
            output.name = new


def replace_output(model: onnx.ModelProto, name: str, nodes: list[onnx.NodeProto]) -> None:
    """Makes `nodes` the source of an output; they may read what it was as `NAME_before`."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, each in enumerate(names):
                if each == name:
                    names[index] = f"{name}_before"
    model.graph.node.extend(nodes)
