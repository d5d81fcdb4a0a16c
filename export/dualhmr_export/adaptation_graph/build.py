"""The whole test-time adaptation of one person as one ONNX graph.

    start -> a loop for every phase -> final evaluation -> rows that count -> poses of these rows

A trip of a loop is a step: it evaluates the head, updates it, and says whether to go on.

Or as graphs without loops: one that begins, and a step for every phase. TensorRT builds, captures
and replays these. Of a loop that may end early its parser warns that rows may be wrong, and a loop
cannot be captured. A step reads the state `before.NAME` and writes `after.NAME`, so whoever runs it
swaps two sets of buffers.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import ON_INPUT
from dualhmr.adaptation.schedule import WITHIN_PHASE
from dualhmr_export.adaptation_graph.assembly import Assembly, LoopPlan
from dualhmr_export.adaptation_graph.fragment import (
    OPSET,
    Fragment,
    Names,
    drop_unread,
    fragment_of,
)
from dualhmr_export.adaptation_graph.pieces import (
    ESTIMATE,
    EVALUATIONS,
    KEPT,
    LOSS,
    PREVIOUS,
    STOP,
    FinalEvaluation,
    IteratePoses,
    StepPiece,
    example_state,
    optimiser_state_shapes,
)
from dualhmr_export.adaptation_graph.problem import GraphProblem

MAX_STEPS_INPUT = "max_steps"
# Explicit, as the default of a new onnx package may be newer than an installed ONNX Runtime reads.
_IR_VERSION = 10
_BEFORE, _AFTER, _ROW = "before.", "after.", "row"
_OF_LOOPS = (PREVIOUS, STOP, EVALUATIONS)
"""State that decides when a loop ends; here whoever runs the steps does."""


class TracedProblem:
    """A problem whose pieces are traced once, for all graphs that are made of them."""

    def __init__(self, problem: GraphProblem) -> None:
        self.problem = problem
        self.steps = [StepPiece(problem, phase) for phase in problem.schedule.phases]
        """By phase."""

    @cached_property
    def fragments(self) -> list[Fragment]:
        """Of `steps`."""
        return [fragment_of(step) for step in self.steps]

    @cached_property
    def last(self) -> Fragment:
        """Of the evaluation after the last step."""
        return fragment_of(FinalEvaluation(self.problem))

    @cached_property
    def poses(self) -> Fragment:
        """Of any number of estimates."""
        return fragment_of(IteratePoses(self.problem), free=ESTIMATE)


def adaptation_graph(traced: TracedProblem) -> onnx.ModelProto:
    """The graph for a problem; its outputs have a row for the start and every step that counts."""
    problem, graph = traced.problem, Assembly()
    inputs = {name: graph.input(name) for name in problem.example}
    rows = _run_phases(traced, graph, inputs)
    rows |= {name: _kept(graph, rows[name], rows[KEPT]) for name in (LOSS, ESTIMATE)}
    results = graph.inline(traced.poses, inputs | rows, prefix="")
    results = {"losses": rows[LOSS], **results, STOP: rows[STOP]}
    declared = [tensor_info(name, example.shape) for name, example in problem.example.items()]
    declared.append(helper.make_tensor_value_info(MAX_STEPS_INPUT, TensorProto.INT64, ()))
    outputs = [*_outputs(problem), helper.make_tensor_value_info(STOP, TensorProto.INT64, ())]
    return model_of(graph, declared, results, outputs)


def model_of(
    graph: Assembly,
    inputs: Sequence[onnx.ValueInfoProto],
    results: Names,
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """A checked model; `results` are the graph's values by the names of outputs."""
    nodes = [helper.make_node("Identity", [value], [name]) for name, value in results.items()]
    joined = helper.make_graph([*graph.nodes, *nodes], "adaptation", inputs, outputs)
    drop_unread(joined)
    joined.initializer.extend(graph.constants_read_by(joined.node))
    model = helper.make_model(
        joined, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def _run_phases(traced: TracedProblem, graph: Assembly, inputs: Names) -> Names:
    """Losses and estimates of all evaluations, how many of them are kept, and why it stopped."""
    problem = traced.problem
    matrices = problem.head.matrices
    state = {
        name: graph.constant(matrix.numpy())
        for name, matrix in matrices.items()
        if name != ON_INPUT
    }
    state[ON_INPUT] = output_for_input(problem, graph, inputs)
    state |= {STOP: graph.constant(np.int64(0)), EVALUATIONS: graph.constant(np.int64(0))}
    left, losses, estimates = graph.input(MAX_STEPS_INPUT), [], []
    phases = problem.schedule.phases
    for number, (phase, step) in enumerate(zip(phases, traced.steps, strict=True)):
        steps = left
        if number < len(phases) - 1:
            steps = graph.add("Min", left, graph.constant(np.int64(phase.steps)))
            left = graph.add("Sub", left, steps)
        if number == 0 or problem.schedule.stop_rule == WITHIN_PHASE:
            state[PREVIOUS] = graph.constant(np.float32(np.inf))
        before = state | _optimiser_state(problem, graph, phase.optimiser)
        plan = LoopPlan(
            name=f"phase_{number}",
            trips=steps,
            condition=graph.add("Equal", state[STOP], graph.constant(np.int64(0))),
            carried={name: before[name] for name in step.state},
            scanned=(LOSS, ESTIMATE),
        )
        after = graph.loop(traced.fragments[number], inputs, plan)
        losses.append(after.pop(LOSS))
        estimates.append(after.pop(ESTIMATE))
        state |= after
    last = graph.inline(traced.last, inputs | state, prefix="last")
    return {
        LOSS: graph.add("Concat", *losses, last[LOSS], axis=0),
        ESTIMATE: graph.add("Concat", *estimates, last[ESTIMATE], axis=0),
        STOP: last[STOP],
        KEPT: last[KEPT],
    }


def output_for_input(problem: GraphProblem, graph: Assembly, inputs: Names) -> str:
    """What the input's matrix makes of it before adaptation: (1, H), or (1, E)."""
    read = [inputs[name] for name in ("features", "box_info") if name in inputs]
    values = graph.add("Concat", *read, graph.constant(np.ones((1, 1), np.float32)), axis=1)
    matrix = graph.constant(problem.head.matrices[ON_INPUT].numpy())
    return graph.add("Gemm", values, matrix, transB=1)


def _optimiser_state(problem: GraphProblem, graph: Assembly, optimiser: object) -> Names:
    """Zeros, made by a node: a constant would be as large in the file as the matrices."""
    matrices = problem.head.matrices
    output = matrices[ON_INPUT].new_empty(1, len(matrices[ON_INPUT]))
    state = matrices | {ON_INPUT: output}
    return {
        name: graph.add("ConstantOfShape", graph.constant(np.array(shape, np.int64)))
        for name, shape in optimiser_state_shapes(state, optimiser).items()
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
    return [tensor_info(name, ("rows", *shape)) for name, shape in shapes.items()]


def tensor_info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """Describes a float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def start_graph(problem: GraphProblem) -> onnx.ModelProto:
    """From a person's `features` and `box_info` to the head's state before the first step."""
    graph = Assembly()
    read = [name for name in ("features", "box_info") if name in problem.example]
    inputs: Names = {name: graph.input(name) for name in read}
    after = {
        name: graph.constant(matrix.numpy())
        for name, matrix in problem.head.matrices.items()
        if name != ON_INPUT
    }
    after[ON_INPUT] = output_for_input(problem, graph, inputs)
    state = _state(problem, None)
    return model_of(
        graph,
        [tensor_info(name, problem.example[name].shape) for name in read],
        {_AFTER + name: after[name] for name in state},
        [tensor_info(_AFTER + name, tensor.shape) for name, tensor in state.items()],
    )


def step_graph(traced: TracedProblem, phase: int) -> onnx.ModelProto:
    """A step of a phase, counted from 0, and one `row` (1, R) of the iterate that it begins with.

    The row holds the watched loss, the one that decides when to stop, rotations (24 x 3 x 3),
    betas, translation, keypoints (K x 2), focal length and principal point.
    """
    problem, graph = traced.problem, Assembly()
    state = _state(problem, problem.schedule.phases[phase].optimiser)
    inputs = {name: graph.input(name) for name in problem.example}
    before = {name: graph.input(_BEFORE + name) for name in state}
    before[PREVIOUS] = graph.constant(np.float32(np.inf))
    before |= dict.fromkeys((STOP, EVALUATIONS), graph.constant(np.int64(0)))
    after = graph.inline(traced.fragments[phase], inputs | before, prefix="step")
    flat = graph.constant(np.array([1, -1], np.int64))
    estimate = graph.add("Reshape", after[ESTIMATE], flat)
    poses = graph.inline(traced.poses, inputs | {ESTIMATE: estimate}, prefix="poses")
    parts = [after[LOSS], after[PREVIOUS], *poses.values()]
    row = graph.add("Concat", *(graph.add("Reshape", each, flat) for each in parts), axis=1)
    examples = problem.example | {_BEFORE + name: tensor for name, tensor in state.items()}
    return model_of(
        graph,
        [tensor_info(name, tensor.shape) for name, tensor in examples.items()],
        {_AFTER + name: after[name] for name in state} | {_ROW: row},
        [
            *(tensor_info(_AFTER + name, tensor.shape) for name, tensor in state.items()),
            tensor_info(_ROW, (1, _row_size(problem))),
        ],
    )


def _state(problem: GraphProblem, optimiser: object | None) -> dict[str, Tensor]:
    state = example_state(problem.for_person(problem.example), optimiser)
    return {name: tensor for name, tensor in state.items() if name not in _OF_LOOPS}


def _row_size(problem: GraphProblem) -> int:
    return 2 + 24 * 9 + problem.objective.body.beta_count + 3 + 2 * len(problem.keypoints) + 3
