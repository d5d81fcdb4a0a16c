"""Exported networks against PyTorch: the people they are compared on, and the differences."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dualhmr.adaptation.adapt import adapt
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.model import Body, skin
from dualhmr.bundle import ADAPTATION_GRAPH, ADAPTATION_START, Bundle, Manifest
from dualhmr.camera import image_camera
from dualhmr.engines import EngineOptions, FrozenNetworks
from dualhmr.engines.device_inputs import as_tensor
from dualhmr.example import example
from dualhmr.files import markdown_table
from dualhmr.keypoints import Keypoints
from dualhmr.person import (
    AdaptedPerson,
    FloatArray,
    ObservedPerson,
    observe_person,
    person_inputs,
    place_bodies,
    run_frozen_networks,
)
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter, describe
from dualhmr_export.onnx_steps import OnnxStepFitter

Image = npt.NDArray[np.uint8]
Arrays = Mapping[str, npt.NDArray[Any]]


def real_crops(manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """The networks' inputs by name for the eight persons of `real_people`."""
    return inputs_of(real_people(manifest), manifest)


def inputs_of(
    people: Iterable[tuple[Image, ObservedPerson]], manifest: Manifest
) -> dict[str, npt.NDArray[Any]]:
    """The networks' inputs by name for at least one person."""
    reads = {*manifest.main.reads, *manifest.auxiliary.reads}
    persons = [
        person_inputs(image, observed, manifest, reads=reads).arrays for image, observed in people
    ]
    return {name: np.concatenate([each[name] for each in persons]) for name in persons[0]}


def real_people(manifest: Manifest) -> Iterator[tuple[Image, ObservedPerson]]:
    """Eight persons: the example photograph, turned and mirrored, with keypoints and camera.

    It is turned by right angles, which keep every pixel as it was taken. Crop and focal length
    are as the networks' manifest says.
    """
    for image, keypoints in _orientations(*example()):
        height, width = image.shape[:2]
        camera = image_camera(width, height, None, None, default=manifest.focal_length)
        yield image, observe_person(keypoints, 0, *camera, crop=manifest.crop)


def _orientations(image: Image, keypoints: Keypoints) -> Iterator[tuple[Image, Keypoints]]:
    """All eight of a square photograph whose pixel centres have integer coordinates."""
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


@dataclass(frozen=True)
class Bounds:
    """The largest accepted differences of an exported network."""

    features: float
    """Relative to the length of a person's features."""
    mesh_mm: float
    """Of any vertex."""


BOUNDS = {
    "fp32": Bounds(features=1e-4, mesh_mm=0.05),
    "fp16": Bounds(features=1e-2, mesh_mm=2.0),
    "bf16": Bounds(features=5e-2, mesh_mm=10.0),
    "int8": Bounds(features=1e-1, mesh_mm=20.0),
}


ADAPTED_BOUND_MM = 0.1
"""On the distance of any vertex after adaptation, in the camera frame."""
STEP_GRAPHS = "adaptation_step_*.onnx"
"""How reports call the start and the steps, which are compared together."""


@dataclass(frozen=True)
class Difference:
    """One row of the report: the largest difference over persons."""

    graph: str
    what: str
    absolute: float
    """Of features, the largest; of meshes, the largest distance of a vertex in millimetres."""
    relative: float
    """Length of the difference over the length of the reference (meshes: about their centre)."""
    bound: float
    """On `relative` for features, on `absolute` for meshes."""
    holds: bool


def frozen_differences(
    reference: FrozenNetworks,
    exported: FrozenNetworks,
    inputs: Arrays,
    body: Body,
    bounds: Bounds,
) -> tuple[Difference, Difference]:
    """Runs both on the inputs of N persons and compares features and meshes.

    A difference that is not finite does not hold.
    """
    features, others = (
        as_tensor(each.backbone(inputs)["features"], "cpu") for each in (reference, exported)
    )
    relative = _relative(features, others)
    of_features = Difference(
        "backbone.onnx",
        "features",
        absolute=float((others - features).abs().max()),
        relative=relative,
        bound=bounds.features,
        holds=relative <= bounds.features,
    )
    mesh, other_mesh = (
        _mesh_mm(each, inputs, own, body)
        for each, own in ((reference, features), (exported, others))
    )
    centre = mesh.mean(1, keepdim=True)
    distance = float((other_mesh - mesh).norm(dim=-1).max())
    of_meshes = Difference(
        "auxiliary.onnx",
        "mesh, mm",
        absolute=distance,
        relative=_relative(mesh - centre, other_mesh - centre),
        bound=bounds.mesh_mm,
        holds=distance <= bounds.mesh_mm,
    )
    return of_features, of_meshes


def _mesh_mm(networks: FrozenNetworks, inputs: Arrays, features: Tensor, body: Body) -> Tensor:
    """(N, V, 3)."""
    outputs = networks.pseudo_mesh(inputs, features)
    rotations, betas = (as_tensor(outputs[name], "cpu") for name in ("rotations", "betas"))
    return 1000 * skin(body, rotations, betas).vertices


def _relative(reference: Tensor, other: Tensor) -> float:
    difference = (other - reference).flatten(1).norm(dim=1)
    return float((difference / reference.flatten(1).norm(dim=1)).max())


def adaptation_differences(
    bundle: Bundle, networks: FrozenNetworks, body: BodyArrays
) -> tuple[Difference, ...]:
    """Adapts to the example's people by each of the bundle's graphs and by PyTorch.

    That is `adaptation.onnx` and the graphs of single steps; a row for those that are there. All
    begin with the results of `networks`, the bundle's frozen ones. In PyTorch `adapt`, the
    definition, runs. If the numbers of steps differ, the result does not hold, even if the bodies
    are close.
    """
    fitters = _graph_fitters(bundle)
    if not fitters:
        return ()
    torch_fitter = TorchFitter(bundle, body, device="cpu", scope="head")
    found: dict[str, list[tuple[float, float, bool]]] = {graph: [] for graph in fitters}
    references: dict[str, AdaptedPerson] = {}
    for image, observed in real_people(bundle.manifest):
        evidence = run_frozen_networks(image, observed, networks, bundle.manifest)
        tensors = torch_fitter.tensors(evidence)
        loss_function = torch_fitter.loss_function(tensors)
        references.clear()
        for graph, fitter in fitters.items():
            schedule = fitter.schedule
            if schedule.name not in references:
                result = adapt(torch_fitter.parameters, loss_function, schedule)
                references[schedule.name] = describe(tensors, result, observed)
            expected = references[schedule.name]
            found[graph].append(_of_bodies(body, fitter.adapt(evidence, schedule), expected))
    return tuple(_worst(graph, each) for graph, each in found.items())


def _graph_fitters(bundle: Bundle) -> dict[str, OnnxFitter]:
    """What runs the bundle's graphs of the adaptation in ONNX Runtime, by the graph's name."""
    files = bundle.manifest.files
    fitters = {}
    if ADAPTATION_GRAPH in files:
        fitters[ADAPTATION_GRAPH] = OnnxFitter(bundle, device="cpu", options=EngineOptions())
    if ADAPTATION_START in files:
        fitters[STEP_GRAPHS] = OnnxStepFitter(bundle, device="cpu", options=EngineOptions())
    return fitters


def _of_bodies(
    body: BodyArrays, found: AdaptedPerson, expected: AdaptedPerson
) -> tuple[float, float, bool]:
    """The largest distance in mm, the relative difference, and whether the steps are as many."""
    vertices = _placed_mm(body, expected)
    difference = _placed_mm(body, found) - vertices
    return (
        float(np.linalg.norm(difference, axis=-1).max()),
        float(np.linalg.norm(difference) / np.linalg.norm(vertices - vertices.mean(0))),
        len(found.iterates.losses) == len(expected.iterates.losses),
    )


def _worst(graph: str, people: list[tuple[float, float, bool]]) -> Difference:
    distances, relatives, same_steps = zip(*people, strict=True)
    distance = float(np.max(distances))
    return Difference(
        graph,
        "vertices after adaptation, mm",
        absolute=distance,
        relative=float(np.max(relatives)),
        bound=ADAPTED_BOUND_MM,
        holds=all(same_steps) and distance <= ADAPTED_BOUND_MM,
    )


def _placed_mm(body: BodyArrays, person: AdaptedPerson) -> FloatArray:
    """(V, 3)."""
    parameters = (person.rotations, person.betas, person.translation)
    vertices, _ = place_bodies(body, *(each[None] for each in parameters))
    return 1000 * vertices[0]


def table(rows: tuple[Difference, ...]) -> str:
    """The rows as a table in Markdown."""
    cells = [("graph", "what", "largest error", "relative error", "bound", "")]
    for row in rows:
        bound = f"{row.bound:g} {'mm' if 'mm' in row.what else 'relative'}"
        errors = (f"{row.absolute:.2g}", f"{row.relative:.1e}")
        cells.append((row.graph, row.what, *errors, bound, "holds" if row.holds else "FAILS"))
    return markdown_table(cells)
