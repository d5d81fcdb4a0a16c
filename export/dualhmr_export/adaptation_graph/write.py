"""The graph as a file, which says of itself what whoever runs it has to know."""

from pathlib import Path

import onnx
from onnx import helper

from dualhmr.body import Body
from dualhmr.manifest import Manifest
from dualhmr.networks import RegressorHead
from dualhmr_export.adaptation_graph.build import MAX_STEPS, adaptation_graph
from dualhmr_export.adaptation_graph.problem import GraphProblem


def write_adaptation_graph(
    path: Path,
    head: RegressorHead,
    manifest: Manifest,
    body: Body,
    *,
    schedule: str | None = None,
) -> None:
    """Writes the graph of a bundle's main network, `head`, by the schedule of that name.

    None is the manifest's own. Raises ValueError for an unknown one, and for a body whose
    keypoints are not known.
    """
    problem = GraphProblem.of(head, manifest, body, manifest.schedule.schedule(schedule))
    model = adaptation_graph(problem)
    facts = {
        "keypoints": ",".join(problem.keypoints),
        "schedule": problem.schedule.name,
        MAX_STEPS: str(problem.schedule.max_steps),
        "tolerance": str(problem.schedule.tolerance),
        "camera": manifest.camera,
        "body": body.name,
    }
    helper.set_model_props(model, facts)
    onnx.save(model, path)
