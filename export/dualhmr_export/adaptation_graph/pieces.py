"""What a loop hands on from one step to the next: tensors by name, matrices as (rows, columns)."""

from typing import Protocol

import torch
from torch import Tensor, nn

from dualhmr.adaptation.fast_head.affine_head import GIVEN
from dualhmr.adaptation.fast_head.arithmetic import AdamCoefficients, Gradients, Moments
from dualhmr.adaptation.fast_head.head_step import (
    AdaptedMatrices,
    DenseMatrix,
    Problem,
    RankOneOutput,
    evaluate_head,
    evaluate_last,
    move,
)
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import Phase
from dualhmr.body.model import pose_skeleton
from dualhmr.camera import project
from dualhmr.networks.head import CAMERA_COUNT, POSE_COUNT, HeadOutput
from dualhmr_export.adaptation_graph.problem import GraphProblem, Inputs

State = dict[str, Tensor]

PREVIOUS, STOP, LOOKS = "previous", "stop", "looks"
COURSE = (PREVIOUS, STOP, LOOKS)
"""The loss before, () and infinite at first; why to stop, or 0; how often was looked."""
_CORRECTIONS = ("first_correction", "second_correction")
"""() each: the moving means of ones, which say how far moments are from zero, their start."""


def moment_names(name: str) -> tuple[str, str]:
    """Of a movable's moments."""
    return f"{name}_first", f"{name}_second"


def memory_shapes(matrices: dict[str, Tensor], optimiser: object) -> dict[str, tuple[int, ...]]:
    """What `optimiser` remembers of `matrices`, a state's, all of it zero at first, by name."""
    if not isinstance(optimiser, Adam):
        return {}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_CORRECTIONS, ())
    for name, matrix in matrices.items():
        shapes |= dict.fromkeys(moment_names(name), tuple(matrix.shape))
    return shapes


def movables_of(problem: Problem, state: State) -> AdaptedMatrices:
    """What is moved, with what is remembered of it."""
    movables: AdaptedMatrices = {}
    for name in problem.head.matrices:
        remembered = [state[each][None] for each in moment_names(name) if each in state]
        moments = Moments(*remembered) if remembered else None
        if name == GIVEN:
            movables[name] = RankOneOutput(state[name][None], problem.given, moments)
        else:
            movables[name] = DenseMatrix(state[name][None], problem.arithmetic, moments)
    return movables


def moved(
    movables: AdaptedMatrices, gradients: Gradients, optimiser: object, state: State
) -> State:
    """The state after a step; that of an optimiser other than the two is a TypeError."""
    if isinstance(optimiser, GradientDescent):
        return _state_of(move(movables, gradients, optimiser, 0))
    if not isinstance(optimiser, Adam):
        raise TypeError(f"no graph of a step by {optimiser!r}")
    # As a moving mean rather than a power: exact in single precision, for any number of steps.
    betas = (optimiser.beta1, optimiser.beta2)
    corrections = [
        state[name] * beta + (1 - beta) for name, beta in zip(_CORRECTIONS, betas, strict=True)
    ]
    root = corrections[1].sqrt()
    pace = AdamCoefficients(
        *betas, optimiser.learning_rate * root / corrections[0], optimiser.epsilon * root
    )
    after = {name: one.adapted(gradients[name], pace) for name, one in movables.items()}
    return _state_of(after) | dict(zip(_CORRECTIONS, corrections, strict=True))


def _state_of(movables: AdaptedMatrices) -> State:
    state: State = {}
    for name, movable in movables.items():
        assert isinstance(movable, DenseMatrix | RankOneOutput)
        state[name] = movable.value.squeeze(0)
        for each, moment in zip(moment_names(name), movable.moments or (), strict=False):
            state[each] = moment.squeeze(0)
    return state


def example_state(problem: Problem, optimiser: object | None) -> State:
    """Any state in a phase of `optimiser` (None: after all phases), to trace with."""
    state = {name: movable.value[0].clone() for name, movable in problem.start().items()}
    for name, shape in memory_shapes(state, optimiser).items():
        state[name] = torch.zeros(shape)
    state[PREVIOUS] = torch.tensor(torch.inf)
    state[STOP], state[LOOKS] = torch.tensor(0), torch.tensor(0)
    return state


# The pieces that the graph is made of, as modules: tensors by name in and out.
#
# Every piece reads all inputs, then what it says; the exporter drops what it does not use.


MAX_STEPS, CONVERGED, NON_FINITE = 0, 1, 2
"""What `stop` says."""
GO_ON, LOSS, ESTIMATE, KEPT = "go_on", "loss", "estimate", "kept"


class Piece(Protocol):
    """A part of the computation."""

    @property
    def example(self) -> Inputs:
        """Any arguments, by name, in order: inputs of the graph and others."""
        ...

    def compute(self, given: Inputs) -> Inputs:
        """Results by name."""
        ...


class PieceModule(nn.Module):
    """A piece with tensors in order."""

    def __init__(self, piece: Piece) -> None:
        """Computes the piece once, to see what it makes."""
        super().__init__()
        self.piece, self.reads = piece, tuple(piece.example)
        self.makes = tuple(piece.compute(piece.example))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors named in `reads` to those named in `makes`."""
        return tuple(self.piece.compute(dict(zip(self.reads, tensors, strict=True))).values())


class Step:
    """A look and a move in one phase."""

    def __init__(self, problem: GraphProblem, phase: Phase) -> None:
        self._problem, self._phase = problem, phase
        state = example_state(problem.about(problem.example), phase.optimiser)
        self.example = problem.example | state
        self.state = tuple(state)
        """Names of what is handed on."""

    def compute(self, given: Inputs) -> Inputs:
        """Whether to go on, the state after, and the loss () and estimate (E,) before."""
        problem, optimiser = self._problem.about(given), self._phase.optimiser
        movables = movables_of(problem, given)
        seen = evaluate_head(problem, movables, self._phase.losses)
        loss, stop = judged(seen.watched, given[PREVIOUS], self._problem.schedule.tolerance)
        after = moved(movables, seen.gradients, optimiser, given)
        after |= {PREVIOUS: loss, STOP: stop, LOOKS: given[LOOKS] + 1}
        handed_on = {name: after[name] for name in self.state}
        return {GO_ON: stop == 0, **handed_on, LOSS: loss, ESTIMATE: seen.estimate[0]}


class LastLook:
    """A look where there is no further to go; and how many of all looks are kept."""

    def __init__(self, problem: GraphProblem) -> None:
        self._problem = problem
        self.example = problem.example | example_state(problem.about(problem.example), None)

    def compute(self, given: Inputs) -> Inputs:
        """Loss (1,) and estimate (1, E), `stop`, and `kept`, a number (1,)."""
        problem = self._problem.about(given)
        watched, estimate = evaluate_last(problem, movables_of(problem, given))
        loss, own = judged(watched, given[PREVIOUS], self._problem.schedule.tolerance)
        before = given[STOP]
        stop = torch.where(before == 0, own, before)
        # This look does not count after a stop, and none that is not finite does.
        dropped = (before != 0).long() + (stop == NON_FINITE).long()
        kept = (given[LOOKS] + 1 - dropped).clamp_min(1)
        return {LOSS: loss[None], ESTIMATE: estimate, STOP: stop, KEPT: kept[None]}


class Iterates:
    """What a user sees of iterates."""

    def __init__(self, problem: GraphProblem) -> None:
        self._problem = problem
        self.example = problem.example | {ESTIMATE: problem.head.start.repeat(3, 1)}

    def compute(self, given: Inputs) -> Inputs:
        """The outputs `step_...` and `camera_...`, from estimates (S + 1, E)."""
        estimate, view = given[ESTIMATE], self._problem.view(given)
        betas = estimate.shape[1] - POSE_COUNT - CAMERA_COUNT
        output = HeadOutput(*estimate.split([POSE_COUNT, betas, CAMERA_COUNT], dim=1))
        objective, rows = self._problem.objective, estimate.shape[0]
        rotations = output.rotations
        camera = objective.camera(output.camera, view)
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


def judged(watched: Tensor, previous: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The loss (), NaN where it is not finite, and why to stop or 0, of a watched one (1,)."""
    loss = watched[0]
    finite = torch.isfinite(loss)
    close = (loss - previous).abs() < tolerance
    stop = torch.where(finite, close.long() * CONVERGED, NON_FINITE)
    return torch.where(finite, loss, torch.nan), stop
