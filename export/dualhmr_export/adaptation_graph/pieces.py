"""The pieces that the graph is made of: a step, the final evaluation, and the bodies of iterates.

Each piece takes and returns tensors by name. It declares all inputs of the graph, then its own;
the exporter drops those that it does not use. A loop hands the state on from step to step, with
matrices as (rows, columns).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from dualhmr.adaptation.fast_head.affine_head import ON_INPUT
from dualhmr.adaptation.fast_head.head_gradients import MatrixGradients
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    DenseMatrix,
    Problem,
    adam_step,
    evaluate_head,
    evaluate_last,
    update_matrices,
)
from dualhmr.adaptation.fast_head.rank_one_output import RankOneOutput
from dualhmr.adaptation.optimisers import Adam, AdamCoefficients, GradientDescent, Moments
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    STOP_REASONS,
    WITHIN_PHASE,
    Phase,
)
from dualhmr.body.model import pose_skeleton
from dualhmr.camera import project
from dualhmr.networks.head import CAMERA_COUNT, POSE_COUNT, HeadOutput
from dualhmr_export.adaptation_graph.problem import GraphProblem, Inputs

State = dict[str, Tensor]

PREVIOUS, STOP, EVALUATIONS = "previous", "stop", "evaluations"
"""The loss before, () and infinite at first; the number of a reason to stop, or 0; how many
evaluations there were."""
GO_ON, LOSS, ESTIMATE, KEPT = "go_on", "loss", "estimate", "kept"
_CORRECTIONS = ("first_correction", "second_correction")
"""() each: 1 - beta^t, Adam's bias corrections."""


def moment_names(name: str) -> tuple[str, str]:
    """Names of a matrix's moments in the state."""
    return f"{name}_first", f"{name}_second"


def optimiser_state_shapes(
    matrices: dict[str, Tensor], optimiser: object
) -> dict[str, tuple[int, ...]]:
    """Shapes of the optimiser's part of the state, by name; all of it is zero at first."""
    if not isinstance(optimiser, Adam):
        return {}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_CORRECTIONS, ())
    for name, matrix in matrices.items():
        shapes |= dict.fromkeys(moment_names(name), tuple(matrix.shape))
    return shapes


def _matrices_of(problem: Problem, state: State) -> AdaptedMatrices:
    matrices: AdaptedMatrices = {}
    for name in problem.head.matrices:
        kept = [state[each][None] for each in moment_names(name) if each in state]
        moments = Moments(*kept) if kept else None
        if name == ON_INPUT:
            matrices[name] = RankOneOutput(state[name][None], problem.head_input, moments)
        else:
            matrices[name] = DenseMatrix(state[name][None], problem.arithmetic, moments)
    return matrices


def _updated(
    matrices: AdaptedMatrices, gradients: MatrixGradients, optimiser: object, state: State
) -> State:
    """Matrices and the optimiser's state after a step."""
    if isinstance(optimiser, GradientDescent):
        return _state_of(update_matrices(matrices, gradients, optimiser, 0))
    if not isinstance(optimiser, Adam):
        raise TypeError(f"no graph for a step by {optimiser!r}; expected Adam or GradientDescent")
    # 1 - beta^t as the moving mean of ones: exact in single precision, for any number of steps.
    betas = (optimiser.beta1, optimiser.beta2)
    corrections = [
        state[name] * beta + (1 - beta) for name, beta in zip(_CORRECTIONS, betas, strict=True)
    ]
    root = corrections[1].sqrt()
    coefficients = AdamCoefficients(
        *betas, optimiser.learning_rate * root / corrections[0], optimiser.epsilon * root
    )
    updated = adam_step(matrices, gradients, coefficients)
    return _state_of(updated) | dict(zip(_CORRECTIONS, corrections, strict=True))


def _state_of(matrices: AdaptedMatrices) -> State:
    state: State = {}
    for name, matrix in matrices.items():
        state[name] = matrix.value.squeeze(0)
        for each, moment in zip(moment_names(name), matrix.moments or (), strict=False):
            state[each] = moment.squeeze(0)
    return state


def example_state(problem: Problem, optimiser: object | None) -> State:
    """Any state in a phase of `optimiser` (None: after all phases), to trace with."""
    state = {name: matrix.value[0].clone() for name, matrix in problem.start().items()}
    for name, shape in optimiser_state_shapes(state, optimiser).items():
        state[name] = torch.zeros(shape)
    state[PREVIOUS] = torch.tensor(torch.inf)
    state[STOP], state[EVALUATIONS] = torch.tensor(0), torch.tensor(0)
    return state


class Piece(Protocol):
    """A part of the computation."""

    @property
    def example(self) -> Inputs:
        """Arguments to trace with, by name, in order: inputs of the graph and others."""
        ...

    def compute(self, inputs: Inputs) -> Inputs:
        """Results by name."""
        ...


class PieceModule(nn.Module):
    """A piece as a module with positional tensors, for the exporter."""

    def __init__(self, piece: Piece) -> None:
        """Computes the piece once, to learn the names of its results."""
        super().__init__()
        self.piece, self.reads = piece, tuple(piece.example)
        self.results = tuple(piece.compute(piece.example))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors named in `reads` to those named in `results`."""
        return tuple(self.piece.compute(dict(zip(self.reads, tensors, strict=True))).values())


class StepPiece:
    """One step of a phase: evaluate the head and update it."""

    def __init__(self, problem: GraphProblem, phase: Phase) -> None:
        self._problem, self._phase = problem, phase
        state = example_state(problem.for_person(problem.example), phase.optimiser)
        self.example = problem.example | state
        self.state = tuple(state)
        """Names of the state's tensors, in order."""

    def compute(self, inputs: Inputs) -> Inputs:
        """Whether to go on, the state after the step, and the loss () and estimate (E,) before."""
        problem, optimiser = self._problem.for_person(inputs), self._phase.optimiser
        matrices = _matrices_of(problem, inputs)
        evaluation = evaluate_head(problem, matrices, self._phase)
        schedule, watched = self._problem.schedule, evaluation.watched_loss
        within_phase = schedule.stop_rule == WITHIN_PHASE
        compared = watched if within_phase else evaluation.minimised_loss
        loss, stop = _check_loss(watched, compared, inputs[PREVIOUS], schedule.tolerance)
        after = _updated(matrices, evaluation.gradients, optimiser, inputs)
        after |= {PREVIOUS: compared[0], STOP: stop, EVALUATIONS: inputs[EVALUATIONS] + 1}
        state = {name: after[name] for name in self.state}
        return {GO_ON: stop == 0, **state, LOSS: loss, ESTIMATE: evaluation.estimate[0]}


class FinalEvaluation:
    """The evaluation after the last step, and how many rows of all evaluations are kept."""

    def __init__(self, problem: GraphProblem) -> None:
        self._problem = problem
        self.example = problem.example | example_state(problem.for_person(problem.example), None)

    def compute(self, inputs: Inputs) -> Inputs:
        """Loss (1,) and estimate (1, E), `stop`, and `kept`, a number (1,)."""
        problem = self._problem.for_person(inputs)
        watched, estimate = evaluate_last(problem, _matrices_of(problem, inputs))
        schedule, before = self._problem.schedule, inputs[STOP]
        within_phase = schedule.stop_rule == WITHIN_PHASE
        previous = inputs[PREVIOUS] if within_phase else torch.full((), torch.inf)
        loss, own = _check_loss(watched, watched, previous, schedule.tolerance)
        # After a step that met the tolerance and was still taken, this evaluation counts.
        open_end = before == 0 if within_phase else before != _NON_FINITE
        stop = torch.where(before == 0, own, before)
        stop = torch.where(open_end & (own == _NON_FINITE), own, stop)
        # Dropped are this evaluation where a step has stopped before, and one that is not finite.
        dropped = (~open_end).long() + (stop == _NON_FINITE).long()
        kept = (inputs[EVALUATIONS] + 1 - dropped).clamp_min(1)
        return {LOSS: loss[None], ESTIMATE: estimate, STOP: stop, KEPT: kept[None]}


class IteratePoses:
    """Poses, cameras and keypoints of iterates, as `dualhmr recover` reports them."""

    def __init__(self, problem: GraphProblem) -> None:
        self._problem = problem
        self.example = problem.example | {ESTIMATE: problem.head.start.repeat(3, 1)}

    def compute(self, inputs: Inputs) -> Inputs:
        """The outputs `step_...` and `camera_...`, from estimates (S + 1, E)."""
        estimate, view = inputs[ESTIMATE], self._problem.view(inputs)
        betas = estimate.shape[1] - POSE_COUNT - CAMERA_COUNT
        output = HeadOutput(*estimate.split([POSE_COUNT, betas, CAMERA_COUNT], dim=1))
        objective, rows = self._problem.objective, estimate.shape[0]
        rotations = output.rotations
        camera = objective.full_camera(output.camera, view)
        pose = pose_skeleton(objective.body, rotations, output.betas)
        keypoints = project(objective.points(pose)[0], camera)
        return {
            "step_rotations": rotations,
            "step_betas": output.betas,
            "step_translation": camera.translation,
            "step_keypoints": keypoints.masked_fill(~objective.available[:, None], torch.nan),
            "camera_focal_length": camera.focal_length.expand(rows),
            "camera_principal_point": camera.principal_point.expand(rows, 2),
        }


_CONVERGED, _NON_FINITE = (STOP_REASONS.index(reason) for reason in (CONVERGED, NON_FINITE))


def _check_loss(
    watched: Tensor, compared: Tensor, previous: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The watched loss (1,) as (), NaN where it is not finite; and the reason to stop, or 0."""
    loss = watched[0]
    finite = torch.isfinite(loss)
    close = (compared[0] - previous).abs() < tolerance
    stop = torch.where(finite, close.long() * _CONVERGED, _NON_FINITE)
    return torch.where(finite, loss, torch.nan), stop
