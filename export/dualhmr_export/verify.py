"""How far adapting by a bundle's `adaptation.onnx` is from adapting by PyTorch, on real people."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualhmr.adaptation.adapt import adapt
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import FREE_BODY
from dualhmr.body.model import Body, load_body, matching_body
from dualhmr.bundle import ADAPTATION_GRAPH, FROZEN_GRAPHS, Bundle
from dualhmr.engines import EngineOptions, FrozenNetworks, OnnxRuntimeNetwork, open_networks
from dualhmr.person import AdaptedPerson, FloatArray, place_bodies, run_frozen_networks
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter, describe
from dualhmr_export.onnx_files import rounding_in_float32
from dualhmr_export.parity import BOUNDS, Difference, differences, real_crops, real_people, table

BOUND_MM = 0.1
"""Of any vertex of anybody, where they stand before the camera."""


def adaptation_difference(bundle: Bundle, networks: FrozenNetworks, body: BodyArrays) -> Difference:
    """Adapts to the example's people both ways, and compares the bodies that were found.

    `networks` are the bundle's frozen ones, which both ways begin with. PyTorch's way is `adapt`,
    the definition. Where the numbers of steps differ it does not hold, however close the bodies
    are.
    """
    graph = OnnxFitter(bundle, device="cpu", options=EngineOptions())
    reference = TorchFitter(bundle, body, device="cpu", scope="head")
    schedule = graph.schedule
    distances, relatives, same_steps = [], [], True
    for image, observed in real_people():
        evidence = run_frozen_networks(image, observed, networks, bundle.manifest)
        tensors = reference.tensors(evidence)
        course = adapt(reference.parameters, reference.loss_function(tensors), schedule)
        expected = describe(tensors, course, observed)
        found = graph.adapt(evidence, schedule)
        same_steps &= len(found.iterates.losses) == len(expected.iterates.losses)
        vertices = _placed_mm(body, expected)
        away = _placed_mm(body, found) - vertices
        distances.append(np.linalg.norm(away, axis=-1).max())
        relatives.append(np.linalg.norm(away) / np.linalg.norm(vertices - vertices.mean(0)))
    distance = float(np.max(distances))
    return Difference(
        ADAPTATION_GRAPH,
        "vertices after adaptation, mm",
        distance,
        float(np.max(relatives)),
        BOUND_MM,
        holds=same_steps and distance <= BOUND_MM,
    )


def _placed_mm(body: BodyArrays, person: AdaptedPerson) -> FloatArray:
    """(V, 3)."""
    parameters = (person.rotations, person.betas, person.translation)
    vertices, _ = place_bodies(body, *(each[None] for each in parameters))
    return 1000 * vertices[0]


@dataclass(frozen=True)
class ParityReport:
    """How far a bundle's graphs are from PyTorch, and whether that is within bounds."""

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
    options: EngineOptions | None = None,
) -> ParityReport:
    """Compares on real crops; what is out of bounds is for the caller to judge, see `holds`.

    `body` is the one to measure meshes on. Without one, meshes of networks for a licensed body are
    those of the free body at the same parameters: distances are of the same size; but such
    networks' adaptation is not compared. Raises FileNotFoundError for a bundle without PyTorch
    weights, ImportError without the example photograph, ValueError for a body that is not of the
    networks' kind, and what opening the engine raises.
    """
    precision = bundle.manifest.precision
    reference = open_networks(bundle, "torch", device="cpu")
    if precision == "bf16" and backend == "onnxruntime" and device == "cpu":
        exported = _emulated(bundle)
        engine = f"{exported.backbone.runs_on} (bfloat16 by rounding)"
    else:
        exported = open_networks(bundle, backend, device=device, options=options)
        engine = exported.backbone.runs_on
    measured = body or load_body()
    inputs = real_crops(bundle.manifest)
    rows = differences(reference, exported, inputs, measured, BOUNDS[precision])
    adaptations, note = _adaptations(bundle, reference, measured, given=body is not None)
    return ParityReport(
        engine=engine,
        precision=precision,
        body=measured.name,
        crops=len(inputs["box_info"]),
        rows=rows + adaptations,
        note=note,
    )


def _adaptations(
    bundle: Bundle, reference: FrozenNetworks, body: Body, *, given: bool
) -> tuple[tuple[Difference, ...], str]:
    """The row of the adaptation's graph, or why there is none; whether the user gave the body."""
    needed = bundle.manifest.body
    if ADAPTATION_GRAPH not in bundle.manifest.files:
        return (), ""
    if not given and needed != FREE_BODY:
        return (), f"{ADAPTATION_GRAPH} was not compared: that takes the body {needed!r} (--body)"
    matching = matching_body(body, needed=needed, networks=f"bundle {bundle.folder}")
    return (adaptation_difference(bundle, reference, matching.arrays()),), ""


def _emulated(bundle: Bundle) -> FrozenNetworks:
    """A bfloat16 bundle where the engine has none."""
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        for file in FROZEN_GRAPHS:
            path = Path(folder) / file
            path.write_bytes(rounding_in_float32(bundle.path(file)))
            networks.append(OnnxRuntimeNetwork(path))
    backbone, auxiliary = networks
    return FrozenNetworks(backbone, auxiliary, backend="onnxruntime")
