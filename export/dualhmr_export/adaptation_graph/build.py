"""The whole test-time adaptation of one person as one ONNX graph.

    start -> a loop for every phase -> last look -> the rows that count -> what a user sees of them

A loop's round is a look at where the head is and a move from there, and says whether to go on.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from dualhmr.adaptation.fast_head.affine_head import GIVEN
from dualhmr.body.model import Body
from dualhmr.bundle import Manifest
from dualhmr.networks import RegressorHead
from dualhmr_export.adaptation_graph.assembly import Assembly, LoopPlan
from dualhmr_export.adaptation_graph.fragment import OPSET, Names, fragment_of
from dualhmr_export.adaptation_graph.pieces import (
    ESTIMATE,
    KEPT,
    LOOKS,
    LOSS,
    PREVIOUS,
    STOP,
    Iterates,
    LastLook,
    Step,
    memory_shapes,
)
from dualhmr_export.adaptation_graph.problem import GraphProblem

MAX_STEPS = "max_steps"
_IR_VERSION = 10


def adaptation_graph(problem: GraphProblem, *, cut: bool = True) -> onnx.ModelProto:
    """The graph.

    Its outputs hold the rows that count. Without `cut` they hold others behind them, and one more
    output, `kept` (1,), says how many count: TensorRT cannot make as many as follow from data.
    """
    graph = Assembly()
    given = {name: graph.input(name) for name in problem.example}
    rows = _run_phases(problem, graph, given)
    if cut:
        rows |= {name: _kept(graph, rows[name], rows[KEPT]) for name in (LOSS, ESTIMATE)}
    results = graph.inline(fragment_of(Iterates(problem), free=ESTIMATE), given | rows, prefix="")
    results = {"losses": rows[LOSS], **results, STOP: rows[STOP]}
    outputs = [*_outputs(problem), helper.make_tensor_value_info(STOP, TensorProto.INT64, ())]
    if not cut:
        results[KEPT] = rows[KEPT]
        outputs.append(helper.make_tensor_value_info(KEPT, TensorProto.INT64, (1,)))
    graph.nodes += [
        helper.make_node("Identity", [value], [name]) for name, value in results.items()
    ]
    inputs = [_tensor(name, example.shape) for name, example in problem.example.items()]
    inputs.append(helper.make_tensor_value_info(MAX_STEPS, TensorProto.INT64, ()))
    joined = helper.make_graph(
        graph.nodes,
        "adaptation",
        inputs,
        outputs,
        graph.constants_in_use(),
    )
    model = helper.make_model(
        joined, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def _run_phases(problem: GraphProblem, graph: Assembly, given: Names) -> Names:
    """Losses and estimates of all looks, how many of them are kept, and why it stopped."""
    matrices = problem.head.matrices
    state = {
        name: graph.constant(matrix.numpy()) for name, matrix in matrices.items() if name != GIVEN
    }
    state[GIVEN] = _given_output(problem, graph, given)
    state |= {STOP: graph.constant(np.int64(0)), LOOKS: graph.constant(np.int64(0))}
    left, losses, estimates = graph.input(MAX_STEPS), [], []
    phases = problem.schedule.phases
    for number, phase in enumerate(phases):
        steps = left
        if number < len(phases) - 1:
            steps = graph.add("Min", left, graph.constant(np.int64(phase.steps)))
            left = graph.add("Sub", left, steps)
        state[PREVIOUS] = graph.constant(np.float32(np.inf))
        fresh = state | _memory(problem, graph, phase.optimiser)
        step = Step(problem, phase)
        plan = LoopPlan(
            name=f"phase_{number}",
            trips=steps,
            condition=graph.add("Equal", state[STOP], graph.constant(np.int64(0))),
            carried={name: fresh[name] for name in step.state},
            scanned=(LOSS, ESTIMATE),
        )
        after = graph.loop(fragment_of(step), given, plan)
        losses.append(after.pop(LOSS))
        estimates.append(after.pop(ESTIMATE))
        state |= after
    last = graph.inline(fragment_of(LastLook(problem)), given | state, prefix="last")
    return {
        LOSS: graph.add("Concat", *losses, last[LOSS], axis=0),
        ESTIMATE: graph.add("Concat", *estimates, last[ESTIMATE], axis=0),
        STOP: last[STOP],
        KEPT: last[KEPT],
    }


def _given_output(problem: GraphProblem, graph: Assembly, given: Names) -> str:
    """What fc1 makes of what the head is given, at first: (1, H)."""
    read = [given[name] for name in ("features", "box_info") if name in given]
    values = graph.add("Concat", *read, graph.constant(np.ones((1, 1), np.float32)), axis=1)
    matrix = graph.constant(problem.head.matrices[GIVEN].numpy())
    return graph.add("Gemm", values, matrix, transB=1)


def _memory(problem: GraphProblem, graph: Assembly, optimiser: object) -> Names:
    """Zeros: of large ones, an initializer would be as large."""
    matrices = problem.head.matrices
    state = matrices | {GIVEN: matrices[GIVEN].new_empty(1, matrices[GIVEN].shape[0])}
    return {
        name: graph.add("ConstantOfShape", graph.constant(np.array(shape, np.int64)))
        for name, shape in memory_shapes(state, optimiser).items()
    }


def _kept(graph: Assembly, rows: str, kept: str) -> str:
    zero = graph.constant(np.array([0], np.int64))
    return graph.add("Slice", rows, zero, kept, zero)


def _outputs(problem: GraphProblem) -> list[onnx.ValueInfoProto]:
    joints, betas = 24, problem.objective.body.beta_count
    shapes: dict[str, tuple[int, ...]] = {
        "losses": (),
        "step_rotations": (joints, 3, 3),
        "step_betas": (betas,),
        "step_translation": (3,),
        "step_keypoints": (len(problem.keypoints), 2),
        "camera_focal_length": (),
        "camera_principal_point": (2,),
    }
    return [_tensor(name, ("rows", *shape)) for name, shape in shapes.items()]


def _tensor(name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


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
