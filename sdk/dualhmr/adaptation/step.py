"""The test-time step (Eq. 7 and 9): one function, used at test time and inside training."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Optimiser, Parameters, State

Losses = dict[str, Tensor]
LossFunction = Callable[[Parameters, Collection[str] | None], tuple[Losses, object]]
"""Parameters and the names of wanted losses -> scalar losses by name, and output to keep.

The output is tensors, in tuples or dicts however nested.
"""


class Step(NamedTuple):
    """What a step made; losses, gradients and output are of the parameters it was given."""

    parameters: Parameters
    state: State
    losses: Losses
    gradients: Parameters
    output: object


def adaptation_step(
    parameters: Parameters,
    loss_function: LossFunction,
    optimiser: Optimiser,
    state: State,
    *,
    losses: Collection[str] | None = None,
    also: Collection[str] | None = (),
    keep_graph: bool = False,
) -> Step:
    """One update of `parameters` on the sum of the named `losses` (None: all).

    `also` names losses that are evaluated and returned, but not descended on (None: all). Pure:
    nothing is changed in place, so the step can be mapped over samples with `torch.func.vmap`. With
    `keep_graph` the updated parameters stay differentiable with respect to the given ones (second
    order); without it gradients are constants (first order).
    """
    wanted = None if losses is None or also is None else {*losses, *also}

    def total(parameters: Parameters) -> tuple[Tensor, tuple[Losses, object]]:
        values, output = loss_function(parameters, wanted)
        return sum_losses(values, losses), (values, output)

    gradients, (_, (values, output)) = torch.func.grad_and_value(total, has_aux=True)(parameters)
    if not keep_graph:
        gradients = {name: gradient.detach() for name, gradient in gradients.items()}
    updated, state = optimiser.update(parameters, gradients, state)
    return Step(updated, state, values, gradients, output)


def sum_losses(values: Losses, names: Collection[str] | None) -> Tensor:
    """The sum of the losses in `names` (None: of all), for each person if losses are (N,).

    ValueError if none of them is there.
    """
    counted = [value for name, value in values.items() if names is None or name in names]
    if not counted:
        raise ValueError(f"no loss to descend on: {names} of {list(values)}")
    return torch.stack(counted).sum(0)


def all_finite(gradients: Parameters) -> Tensor:
    """Whether they are, as a bool tensor ()."""
    # A sum is one pass over memory, and anything not finite stays so in it.
    sums = [gradient.sum() for gradient in gradients.values()]
    return torch.isfinite(torch.stack(sums)).all()
