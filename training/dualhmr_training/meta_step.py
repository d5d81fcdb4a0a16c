"""Test-time optimisation inside training: the main network after a step for each sample (Eq. 7, 9).

The inner step is `dualhmr.adaptation.adaptation_step`, the one that runs at test time. Every sample
has its own adapted parameters, as the paper's equations say. The authors' release differs: it
adapts one set of parameters per batch.

First order (the default, as in the release): the inner gradient is a constant to the outer one, and
the pseudo mesh gives the auxiliary network no gradient. Second order differentiates through the
inner step; the pseudo mesh still is a constant.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.adaptation import GradientDescent, Parameters, adaptation_step
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective import Evidence, Objective
from dualhmr_training.low_rank import head_after_one_step


@dataclass(frozen=True)
class InnerLoop:
    """The steps that are taken for each sample before the outer loss is evaluated.

    Configurations of the paper: `steps=0` is ordinary training (Eq. 1); `losses=("keypoints_2d",)`
    is meta-learning without the auxiliary network (Eq. 6-7, Table 3, second row); the default is
    the full method (Eq. 8-9).
    """

    steps: int = 1
    learning_rate: float = 1e-5
    max_norm: float | None = None
    """Per-sample bound on the gradient's length."""
    losses: tuple[str, ...] | None = None
    """Names of the losses that are descended on; None is all that the objective has."""
    second_order: bool = False
    scope: str = "head"
    """`head`, as in the release, or `all`: the backbone's parameters too."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner steps are {self.steps}, expected 0 or more")
        if self.scope not in ("head", "all"):
            raise ValueError(f"unknown inner scope {self.scope!r}; known are head, all")

    @property
    def optimiser(self) -> GradientDescent:
        """The inner update rule."""
        return GradientDescent(self.learning_rate, self.max_norm)


def adapted_output(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    inner: InnerLoop,
) -> HeadOutput:
    """What `network` puts out for each of N samples after `inner` steps on that sample's evidence.

    `evidence` is what there is at test time: keypoints and the pseudo mesh. The result is
    differentiable with respect to the network's own parameters. One plain first-order step of the
    head takes the exact low-rank form of `low_rank`; anything else maps over samples.
    """
    if inner.steps == 0:
        return network(inputs)
    drops_out = network.training and network.head.drop1.p > 0
    one_plain_step = inner.steps == 1 and inner.scope == "head" and not inner.second_order
    if one_plain_step and not drops_out:
        box_info = inputs["box_info"] if network.head.reads_box_info else None
        return head_after_one_step(
            network.head,
            network.encode(inputs),
            box_info,
            lambda output: _total(objective, output, evidence, inner.losses),
            inner.optimiser,
        )
    return adapted_output_by_mapping(network, inputs, objective, evidence, inner)


def adapted_output_by_mapping(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    inner: InnerLoop,
) -> HeadOutput:
    """`adapted_output` for every configuration, by `torch.func.vmap` over whole weights."""
    module: torch.nn.Module = network
    read: dict[str, Tensor] = dict(inputs)
    if inner.scope == "head":
        module = network.head
        read = {"features": network.encode(inputs)}
        if network.head.reads_box_info:
            read["box_info"] = inputs["box_info"]

    def run(parameters: Parameters, own: dict[str, Tensor]) -> HeadOutput:
        one = {name: tensor[None] for name, tensor in own.items()}
        arguments = (one,) if inner.scope == "all" else ()
        options = one if inner.scope == "head" else {}
        output: HeadOutput = torch.func.functional_call(module, parameters, arguments, options)
        return output

    def adapt_one(own: dict[str, Tensor], known: Evidence) -> HeadOutput:
        alone: Evidence = pytree.tree_map(_with_axis, known)

        def losses(
            parameters: Parameters, names: Collection[str] | None
        ) -> tuple[dict[str, Tensor], HeadOutput]:
            output = run(parameters, own)
            values = objective.losses(output, alone, names)
            return {name: value[0] for name, value in values.items()}, output

        parameters: Parameters = dict(module.named_parameters())
        state = inner.optimiser.start(parameters)
        for _ in range(inner.steps):
            step = adaptation_step(
                parameters,
                losses,
                inner.optimiser,
                state,
                losses=inner.losses,
                keep_graph=inner.second_order,
            )
            parameters, state = step.parameters, step.state
        return HeadOutput(*(part[0] for part in run(parameters, own)))

    axes = (0, pytree.tree_map(lambda leaf: None if leaf is None else 0, evidence))
    mapped: HeadOutput = torch.func.vmap(adapt_one, in_dims=axes, randomness="different")(
        read, evidence
    )
    return mapped


def _with_axis(leaf: Any) -> Any:
    return leaf if leaf is None else leaf[None]


def _total(
    objective: Objective, output: HeadOutput, evidence: Evidence, names: Collection[str] | None
) -> Tensor:
    return torch.stack(list(objective.losses(output, evidence, names).values())).sum(0)
