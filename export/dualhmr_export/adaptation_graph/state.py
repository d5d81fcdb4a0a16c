"""What a loop hands on from one step to the next: tensors by name, matrices as (rows, columns)."""

import torch
from torch import Tensor

from dualhmr.adaptation.structured.affine_head import GIVEN
from dualhmr.adaptation.structured.arithmetic import Moments, Pace
from dualhmr.adaptation.structured.look import Problem
from dualhmr.adaptation.structured.movable import Matrix, Movables, Output, move
from dualhmr.adaptation.structured.outer import Gradients
from dualhmr.schedules import Adam, GradientDescent

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


def movables_of(problem: Problem, state: State) -> Movables:
    """What is moved, with what is remembered of it."""
    movables: Movables = {}
    for name in problem.head.matrices:
        remembered = [state[each][None] for each in moment_names(name) if each in state]
        moments = Moments(*remembered) if remembered else None
        if name == GIVEN:
            movables[name] = Output(state[name][None], problem.given, moments)
        else:
            movables[name] = Matrix(state[name][None], problem.arithmetic, moments)
    return movables


def moved(movables: Movables, gradients: Gradients, optimiser: object, state: State) -> State:
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
    pace = Pace(*betas, optimiser.learning_rate * root / corrections[0], optimiser.epsilon * root)
    after = {name: one.adapted(gradients[name], pace) for name, one in movables.items()}
    return _state_of(after) | dict(zip(_CORRECTIONS, corrections, strict=True))


def _state_of(movables: Movables) -> State:
    state: State = {}
    for name, movable in movables.items():
        assert isinstance(movable, Matrix | Output)
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
