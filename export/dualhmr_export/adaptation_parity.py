"""How far adapting by a bundle's `adaptation.onnx` is from adapting by PyTorch, on real people."""

import numpy as np

from dualhmr.adaptation import adapt
from dualhmr.adapters.onnx_adapter import OnnxAdapter
from dualhmr.adapters.torch_adapter import TorchAdapter, describe
from dualhmr.body_files import BodyArrays
from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions, FrozenNetworks
from dualhmr.looking import look
from dualhmr.manifest import ADAPTATION_GRAPH
from dualhmr.mesh import FloatArray, place_bodies
from dualhmr.person import AdaptedPerson
from dualhmr_export.parity import Difference
from dualhmr_export.parity_inputs import real_people

BOUND_MM = 0.1
"""Of any vertex of anybody, where they stand before the camera."""


def adaptation_difference(bundle: Bundle, networks: FrozenNetworks, body: BodyArrays) -> Difference:
    """Adapts to the example's people both ways, and compares the bodies that were found.

    `networks` are the bundle's frozen ones, which both ways begin with. PyTorch's way is `adapt`,
    the definition. Where the numbers of steps differ it does not hold, however close the bodies
    are.
    """
    graph = OnnxAdapter(bundle, device="cpu", options=EngineOptions())
    reference = TorchAdapter(bundle, body, device="cpu", scope="head")
    schedule = graph.schedule
    distances, relatives, same_steps = [], [], True
    for image, view in real_people():
        seen = look(image, view, networks, bundle.manifest)
        known = reference.tensors(seen)
        course = adapt(reference.parameters, reference.loss_function(known), schedule)
        expected, found = describe(known, course, view), graph.adapt(seen, schedule)
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
