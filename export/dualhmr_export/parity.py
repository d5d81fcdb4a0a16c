"""How far exported graphs are from PyTorch: features, and the auxiliary network's mesh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from torch import Tensor

from dualhmr.body import Body, pose_skeleton, skin_vertices
from dualhmr.engines import FrozenNetwork, FrozenNetworks
from dualhmr.engines.torch_arrays import as_tensor

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Bounds:
    """What an exported network may be off."""

    features: float
    """Relative to the length of a person's features."""
    mesh_mm: float
    """Of any vertex."""


BOUNDS = {
    "fp32": Bounds(features=1e-4, mesh_mm=0.05),
    "fp16": Bounds(features=1e-2, mesh_mm=2.0),
    "bf16": Bounds(features=5e-2, mesh_mm=10.0),
}


@dataclass(frozen=True)
class Difference:
    """One row of the report: the worst over persons."""

    graph: str
    what: str
    absolute: float
    """Of features: the largest; of meshes: the farthest vertex, millimetres."""
    relative: float
    """Length of the difference over the length of the reference (meshes: about their centre)."""
    bound: float
    """On `relative` for features, on `absolute` for meshes."""
    holds: bool


def differences(
    reference: FrozenNetworks,
    exported: FrozenNetworks,
    inputs: Arrays,
    body: Body,
    bounds: Bounds,
) -> tuple[Difference, ...]:
    """Runs both on `inputs`, N persons' worth, and compares. What is not finite does not hold."""
    both = (reference, exported)
    features = [_features(each.backbone, inputs) for each in both]
    vertices = [_mesh_mm(each.auxiliary, inputs, body) for each in both]
    absolute = float((features[1] - features[0]).abs().max())
    relative = _relative(*features)
    distance = float((vertices[1] - vertices[0]).norm(dim=-1).max())
    centred = [each - vertices[0].mean(1, keepdim=True) for each in vertices]
    return (
        Difference(
            "backbone.onnx",
            "features",
            absolute,
            relative,
            bounds.features,
            holds=relative <= bounds.features,
        ),
        Difference(
            "auxiliary.onnx",
            "mesh, mm",
            distance,
            _relative(*centred),
            bounds.mesh_mm,
            holds=distance <= bounds.mesh_mm,
        ),
    )


def _features(network: FrozenNetwork, inputs: Arrays) -> Tensor:
    """(N, F)."""
    return as_tensor(network(inputs)["features"], "cpu")


def _mesh_mm(network: FrozenNetwork, inputs: Arrays, body: Body) -> Tensor:
    """(N, V, 3)."""
    outputs = network(inputs)
    rotations, betas = (as_tensor(outputs[name], "cpu") for name in ("rotations", "betas"))
    pose = pose_skeleton(body, rotations, betas)
    return 1000 * skin_vertices(body, pose)


def _relative(reference: Tensor, other: Tensor) -> float:
    difference = (other - reference).flatten(1).norm(dim=1)
    return float((difference / reference.flatten(1).norm(dim=1)).max())


def table(rows: tuple[Difference, ...]) -> str:
    """For people, in Markdown."""
    lines = [
        "| graph | what | largest error | relative error | bound | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.graph} | {row.what} | {row.absolute:.2g} | {row.relative:.1e} | "
        f"{row.bound:g} {'mm' if 'mm' in row.what else 'relative'} | "
        f"{'holds' if row.holds else 'FAILS'} |"
        for row in rows
    ]
    return "\n".join(lines)
