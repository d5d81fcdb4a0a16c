"""A head's adapted parameters, from the steps that were taken."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dualhmr.adaptation.structured.affine_head import AffineHead
from dualhmr.adaptation.structured.arithmetic import Arithmetic
from dualhmr.adaptation.structured.movable import Matrix, Movables, move
from dualhmr.adaptation.structured.outer import Gradients
from dualhmr.schedules.optimisers import Optimiser, Parameters


class Taken(NamedTuple):
    """A step that was taken, for N persons."""

    optimiser: Optimiser
    updates: int
    """How many the optimiser had made in this phase before."""
    gradients: Gradients


@torch.no_grad()
def rebuild(
    head: AffineHead, arithmetic: Arithmetic, taken: Sequence[Taken], person: int
) -> Parameters:
    """One person's after the steps `taken`.

    Gradients are kept as the vectors that they are outer products of, so that this takes nothing
    but the steps again; now with a matrix for what is given too, which `adapt_head` does without.
    """
    movables: Movables = {
        name: Matrix(matrix[None], arithmetic) for name, matrix in head.matrices.items()
    }
    for step in taken:
        own = {name: gradient.of_person(person) for name, gradient in step.gradients.items()}
        movables = move(movables, own, step.optimiser, step.updates)
    return head.parameters({name: one.value[0] for name, one in movables.items()})
