"""Bundles with an `adaptation.onnx` that adapts nothing and has known outputs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from dualhmr.bundle import ADAPTATION_GRAPH, MANIFEST
from dualhmr.files import sha256
from dualhmr.keypoints import BODY_23

LOSSES = (3.0, 1.0, 2.0)
OFFSETS_PX = (9.0, 2.0, 5.0)
DEPTHS_M = (5.0, 6.0, 7.0)
BETA_SCALES = (1.0, 2.0, 3.0)
"""Of the start and two steps; the pseudo mesh's betas are scaled by them."""

_INPUTS = {
    "features": (1, "F"),
    "keypoints": (1, "K", 2),
    "confidence": (1, "K"),
    "box_center": (1, 2),
    "box_height": (1,),
    "focal_length": (1,),
    "principal_point": (1, 2),
    "rotations": (1, 24, 3, 3),
    "betas": (1, 10),
}
_OUTPUTS = {
    "losses": ("S",),
    "step_rotations": ("S", 24, 3, 3),
    "step_betas": ("S", 10),
    "step_translation": ("S", 3),
    "step_keypoints": ("S", "K", 2),
    "camera_focal_length": ("S",),
    "camera_principal_point": ("S", 2),
}


def write_adaptation_graph(
    path: Path,
    *,
    names: Sequence[str] = BODY_23.names,
    schedule: str = "paper",
    losses: Sequence[float] = LOSSES,
    stop: int = 0,
    metadata: dict[str, str] | None = None,
    lacking: str = "",
    reading: str = "",
) -> Path:
    """A graph whose body is the pseudo mesh, whatever `schedule` it says it is for.

    The start and two steps, or fewer if `max_steps` says so. The loss is `losses` times the sum of
    the confidences; keypoints lie where they were given, but `OFFSETS_PX` to the right. `metadata`
    replaces the file's, an output called `lacking` is left out, an input called `reading` added.
    """
    constants: dict[str, np.ndarray] = {}

    def constant(name: str, values: ArrayLike, dtype: type = np.float32) -> str:
        constants[name] = np.asarray(values, dtype)
        return name

    def cut(rows: str, output: str) -> list[onnx.NodeProto]:
        return [helper.make_node("Slice", [rows, "zero", "end", "zero"], [output])]

    count = len(losses)
    constant("zero", [0], np.int64)
    constant("one", [1], np.int64)
    ones = constant("ones", np.ones((count, 1)))
    offsets = [[[offset, 0.0]] for offset in OFFSETS_PX]
    make = helper.make_node
    nodes = [
        make("Add", ["max_steps", "one"], ["end"]),
        make("ReduceSum", ["confidence"], ["sum"], keepdims=0),
        make("Mul", [constant("per_confidence", losses), "sum"], ["all_losses"]),
        make("Mul", [constant("ones4", np.ones((count, 1, 1, 1))), "rotations"], ["all_rotations"]),
        make("Mul", [constant("scales", np.reshape(BETA_SCALES, (-1, 1))), "betas"], ["all_betas"]),
        make("Mul", ["box_height", constant("half", [0.375, 0.5])], ["half_box"]),
        make("Mul", ["keypoints", "half_box"], ["from_center"]),
        make("Add", ["from_center", "box_center"], ["pixels"]),
        make("Add", ["pixels", constant("offsets", offsets)], ["all_keypoints"]),
        make("Mul", [constant("ones1", np.ones(count)), "focal_length"], ["all_focal"]),
        make("Mul", [ones, "principal_point"], ["all_principal"]),
        *cut("all_losses", "losses"),
        *cut("all_rotations", "step_rotations"),
        *cut("all_betas", "step_betas"),
        *cut(constant("depths", [[0, 0, depth] for depth in DEPTHS_M]), "step_translation"),
        *cut("all_keypoints", "step_keypoints"),
        *cut("all_focal", "camera_focal_length"),
        *cut("all_principal", "camera_principal_point"),
        make("Identity", [constant("stopped", stop, np.int64)], ["stop"]),
    ]
    read = _INPUTS | ({reading: (1,)} if reading else {})
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in read.items()]
    inputs.append(helper.make_tensor_value_info("max_steps", TensorProto.INT64, ()))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in _OUTPUTS.items()]
    outputs.append(helper.make_tensor_value_info("stop", TensorProto.INT64, ()))
    graph = helper.make_graph(
        nodes,
        "foreseen",
        inputs,
        [output for output in outputs if output.name != lacking],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    known = {"schedule": schedule, "keypoints": ",".join(names)}
    helper.set_model_props(model, known if metadata is None else metadata)
    onnx.save(model, path)
    return path


def add_to_bundle(folder: Path, **options: object) -> Path:
    """Writes such a graph into the bundle in `folder`, and its hash into the manifest."""
    path = write_adaptation_graph(folder / ADAPTATION_GRAPH, **options)  # type: ignore[arg-type]
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][ADAPTATION_GRAPH] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder
