"""The adaptation as graphs without loops: one that begins, and a step for every phase.

TensorRT builds, captures and replays these. Of a loop that may end early its parser warns that rows
may be wrong, and a loop cannot be captured. A step reads the state `before.NAME` and writes
`after.NAME`, so whoever runs it swaps two sets of buffers.
"""

import numpy as np
import onnx
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import ON_INPUT
from dualhmr_export.adaptation_graph.assembly import Assembly
from dualhmr_export.adaptation_graph.build import (
    TracedProblem,
    model_of,
    output_for_input,
    tensor_info,
)
from dualhmr_export.adaptation_graph.fragment import Names
from dualhmr_export.adaptation_graph.pieces import (
    ESTIMATE,
    EVALUATIONS,
    LOSS,
    PREVIOUS,
    STOP,
    example_state,
)
from dualhmr_export.adaptation_graph.problem import GraphProblem

_BEFORE, _AFTER, _ROW = "before.", "after.", "row"
_OF_LOOPS = (PREVIOUS, STOP, EVALUATIONS)
"""State that decides when a loop ends; here whoever runs the steps does."""


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
