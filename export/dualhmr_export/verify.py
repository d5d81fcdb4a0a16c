"""Compare the ONNX graphs of a bundle with its PyTorch weights, on real people."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dualhmr.body.files import FREE_BODY, matching_arrays
from dualhmr.body.model import Body, load_body
from dualhmr.bundle import ADAPTATION_GRAPH, ADAPTATION_START, FROZEN_GRAPHS, Bundle
from dualhmr.engines import FrozenNetworks, OnnxRuntimeNetwork, open_networks
from dualhmr_export.parity import (
    BOUNDS,
    Difference,
    adaptation_differences,
    frozen_differences,
    real_crops,
    table,
)


@dataclass(frozen=True)
class ParityReport:
    """The differences between a bundle's graphs and PyTorch, and whether they are within bounds."""

    engine: str
    precision: str
    body: str
    crops: int
    rows: tuple[Difference, ...]
    note: str = ""
    """What was not compared, and why."""

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(row.holds for row in self.rows)

    def __str__(self) -> str:
        """A heading and the table."""
        heading = (
            f"{self.precision} in {self.engine} against PyTorch in float32: the worst of "
            f"{self.crops} crops, meshes of the body {self.body!r}"
        )
        parts = [heading, table(self.rows), self.note]
        return "\n\n".join(part for part in parts if part)


def verify(
    bundle: Bundle,
    *,
    backend: str = "onnxruntime",
    device: str = "cpu",
    body: Body | None = None,
) -> ParityReport:
    """Compares a bundle's graphs with PyTorch; does not raise if a graph is out of bounds.

    Meshes are measured on `body`. Without one, the free body takes the place of a licensed body:
    with the same parameters, distances are of about the same size. The adaptation of networks for a
    licensed body is then not compared.

    Raises FileNotFoundError for a bundle without PyTorch weights, ValueError for another body than
    the networks regress, and what opening the engine raises.
    """
    manifest = bundle.manifest
    reference = open_networks(bundle, "torch", device="cpu")
    if manifest.precision == "bf16" and backend == "onnxruntime" and device == "cpu":
        exported = _open_emulating_bfloat16(bundle)
        engine = f"{exported.backbone.runs_on} (bfloat16 by rounding)"
    else:
        exported = open_networks(bundle, backend, device=device)
        engine = exported.backbone.runs_on
    measured = body or load_body()
    inputs = real_crops(manifest)
    bounds = BOUNDS[manifest.precision]
    rows: tuple[Difference, ...] = frozen_differences(reference, exported, inputs, measured, bounds)
    note = ""
    if not {ADAPTATION_GRAPH, ADAPTATION_START}.isdisjoint(manifest.files):
        if body is None and manifest.body != FREE_BODY:
            note = f"{ADAPTATION_GRAPH} was not compared: pass the body {manifest.body!r} (--body)"
        else:
            own = matching_arrays(
                measured.arrays(),
                needed=manifest.body,
                networks=f"bundle {bundle.folder}",
                extra_joints=bundle.extra_joints,
            )
            rows += adaptation_differences(bundle, reference, own)
    return ParityReport(
        engine=engine,
        precision=manifest.precision,
        body=measured.name,
        crops=len(inputs["box_info"]),
        rows=rows,
        note=note,
    )


def _open_emulating_bfloat16(bundle: Bundle) -> FrozenNetworks:
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        for file in FROZEN_GRAPHS:
            path = Path(folder) / file
            path.write_bytes(emulate_bfloat16(bundle.path(file)))
            networks.append(OnnxRuntimeNetwork(path))
    backbone, auxiliary = networks
    return FrozenNetworks(backbone, auxiliary, backend="onnxruntime")


def emulate_bfloat16(path: Path) -> bytes:
    """Rewrites a bfloat16 ONNX file to float32 arithmetic with the same roundings; serialised.

    ONNX Runtime's CPU provider has no bfloat16 convolution. The rewritten graph has the same
    weights and rounds every result to bfloat16 where the original computes in it. It therefore
    gives what an engine gives that accumulates in float32, as GPUs do.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    rounded = {
        value.name
        for value in graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16
    }
    for weights in graph.initializer:
        if weights.data_type == TensorProto.BFLOAT16:
            values = numpy_helper.to_array(weights).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        # The result gets a new name, and two casts make the rounded value under the old name.
        for index, name in enumerate(node.output):
            if name in rounded:
                exact, bfloat16 = f"{name}_exact", f"{name}_bfloat16"
                node.output[index] = exact
                nodes += [
                    helper.make_node("Cast", [exact], [bfloat16], to=TensorProto.BFLOAT16),
                    helper.make_node("Cast", [bfloat16], [name], to=TensorProto.FLOAT),
                ]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model.SerializeToString()
