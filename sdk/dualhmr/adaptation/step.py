"""The test-time step (Eq. 7 and 9): one function, used at test time and inside training."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Optimiser, OptimiserState, Parameters

Losses = dict[str, Tensor]
LossFunction = Callable[[Parameters, Collection[str] | None], tuple[Losses, object]]
"""Parameters and the names of wanted losses -> scalar losses by name, and an output to keep.

The output consists of tensors, in tuples or dicts of any nesting.
"""


class StepResult(NamedTuple):
    """The updated parameters and state; losses, gradients and output belong to the old ones."""

    parameters: Parameters
    state: OptimiserState
    losses: Losses
    gradients: Parameters
    output: object


def adaptation_step(
    parameters: Parameters,
    loss_function: LossFunction,
    optimiser: Optimiser,
    state: OptimiserState,
    *,
    losses: Collection[str] | None = None,
    scale: float = 1.0,
    also: Collection[str] | None = (),
    keep_graph: bool = False,
) -> StepResult:
    """One update of `parameters` on the sum of the named `losses` (None: all), times `scale`.

    `also` names losses that are evaluated and returned, but are not part of the sum (None: all).
    Pure: nothing is changed in place, so the step can be mapped over samples with
    `torch.func.vmap`. With `keep_graph` the updated parameters stay differentiable with respect to
    the old ones (second order); without it gradients are constants (first order).
    """
    wanted = None if losses is None or also is None else {*losses, *also}

    def total(parameters: Parameters) -> tuple[Tensor, tuple[Losses, object]]:
        values, output = loss_function(parameters, wanted)
        return sum_losses(values, losses, scale), (values, output)

    gradients, (_, (values, output)) = torch.func.grad_and_value(total, has_aux=True)(parameters)
    if not keep_graph:
        gradients = {name: gradient.detach() for name, gradient in gradients.items()}
    updated, state = optimiser.update(parameters, gradients, state)
    return StepResult(updated, state, values, gradients, output)


def sum_losses(values: Losses, names: Collection[str] | None, scale: float = 1.0) -> Tensor:
    """The sum of the losses in `names` (None: of all), times `scale`; (N,) where the losses are.

    Raises ValueError if `values` has none of them.
    """
    counted = [value for name, value in values.items() if names is None or name in names]
    if not counted:
        raise ValueError(f"no loss to minimise: {names} of {list(values)}")
    total = torch.stack(counted).sum(0)
    return total if scale == 1 else scale * total


def all_finite(gradients: Parameters) -> Tensor:
    """Whether all gradients are finite, as a bool tensor ()."""
    # A sum is one pass over memory, and NaN and infinity survive it.
    sums = [gradient.sum() for gradient in gradients.values()]
    return torch.isfinite(torch.stack(sums)).all()
