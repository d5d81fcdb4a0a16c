"""What the networks of a bundle are compared on: real crops."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dualhmr.body.model import Body, pose_skeleton, skin_vertices
from dualhmr.bundle import Manifest
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import FrozenNetwork, FrozenNetworks
from dualhmr.engines.torch_networks import as_tensor
from dualhmr.example import example
from dualhmr.files import markdown_table
from dualhmr.keypoints import Keypoints, network_keypoints
from dualhmr.person import ObservedPerson, network_inputs, observe_person

Image = npt.NDArray[np.uint8]


def real_crops(manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """The inputs, by name, of eight persons: the example photograph, turned and mirrored.

    Turning by right angles keeps every pixel as it was taken. Raises ImportError where the example
    photograph is not installed.
    """
    target = network_keypoints(manifest.keypoint_set).set
    reads = {*manifest.main.reads, *manifest.auxiliary.reads}
    persons = [
        network_inputs(image, observed, target=target, reads=reads)
        for image, observed in real_people()
    ]
    return {name: np.concatenate([each[name] for each in persons]) for name in persons[0]}


def real_people() -> Iterator[tuple[Image, ObservedPerson]]:
    """Those eight persons: the photograph of each, and their keypoints and camera in it."""
    for image, keypoints in _orientations(*example()):
        height, width = image.shape[:2]
        camera = default_focal_length(width, height), image_center(width, height)
        yield image, observe_person(keypoints, 0, *camera)


def _orientations(image: Image, keypoints: Keypoints) -> Iterator[tuple[Image, Keypoints]]:
    """All eight of a square photograph with the pixels' centres at whole numbers."""
    last = len(image) - 1
    xy = keypoints.xy
    for _ in range(4):
        yield np.ascontiguousarray(image), Keypoints(keypoints.set, xy, keypoints.confidence)
        mirrored = np.stack([last - xy[..., 0], xy[..., 1]], axis=-1)
        yield (
            np.ascontiguousarray(image[:, ::-1]),
            Keypoints(keypoints.set, mirrored, keypoints.confidence),
        )
        # A quarter turn to the left takes (x, y) to (y, last - x).
        image = np.rot90(image)
        xy = np.stack([xy[..., 1], last - xy[..., 0]], axis=-1)


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
    cells = [("graph", "what", "largest error", "relative error", "bound", "")]
    for row in rows:
        bound = f"{row.bound:g} {'mm' if 'mm' in row.what else 'relative'}"
        errors = (f"{row.absolute:.2g}", f"{row.relative:.1e}")
        cells.append((row.graph, row.what, *errors, bound, "holds" if row.holds else "FAILS"))
    return markdown_table(cells)
