"""Writes the graphs of a bundle's adaptation, with facts that say what they are of."""

from pathlib import Path

import onnx
from onnx import helper

from dualhmr.body.model import Body
from dualhmr.bundle import ADAPTATION_START, ADAPTATION_STEPS, Manifest
from dualhmr.networks import RegressorHead
from dualhmr_export.adaptation_graph.build import MAX_STEPS_INPUT, TracedProblem, adaptation_graph
from dualhmr_export.adaptation_graph.problem import GraphProblem
from dualhmr_export.adaptation_graph.step_graphs import start_graph, step_graph


def write_adaptation_graph(
    path: Path,
    head: RegressorHead,
    manifest: Manifest,
    body: Body,
    *,
    schedule: str | None = None,
    steps: bool = False,
) -> None:
    """Writes the graph of a bundle's main network, `head`, by the schedule of that name.

    None is the manifest's own. With `steps`, `ADAPTATION_START` and one of `ADAPTATION_STEPS` for
    each phase are written beside it. Raises ValueError for an unknown schedule, and for a body
    without a definition of its keypoints.
    """
    named = manifest.schedule.schedule(schedule, weights=manifest.weights)
    problem = GraphProblem.of(head, manifest, body, named)
    traced = TracedProblem(problem)
    models = {path.name: adaptation_graph(traced)}
    if steps:
        models[ADAPTATION_START] = start_graph(problem)
        phases = range(len(named.phases))
        models |= {ADAPTATION_STEPS[phase]: step_graph(traced, phase) for phase in phases}
    facts = {
        "keypoints": ",".join(problem.keypoints),
        "schedule": named.name,
        "stop_rule": named.stop_rule,
        MAX_STEPS_INPUT: str(named.max_steps),
        "tolerance": str(named.tolerance),
        "camera": manifest.camera,
        "body": body.name,
    }
    for name, model in models.items():
        helper.set_model_props(model, facts)
        onnx.save(model, path.with_name(name))
