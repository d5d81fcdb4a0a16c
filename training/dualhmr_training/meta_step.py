"""Test-time optimisation inside training: the main network after a step for each sample (Eq. 7, 9).

The inner step is `dualhmr.adaptation.adaptation_step`, the one that runs at test time. Every sample
has its own adapted parameters, as the paper's equations say, or the batch has one set of them, as
in the authors' release.

First order (the default, as in the release): the inner gradient is a constant to the outer one, and
the pseudo mesh gives the auxiliary network no gradient. Second order differentiates through the
inner step; the pseudo mesh still is a constant.
"""

from collections.abc import Collection
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.step import adaptation_step
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective.objective import Evidence, Objective
from dualhmr_training.averages import annotated_means
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.low_rank import has_low_rank_form, head_after_steps, network_after_steps


def adapted_output(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    inner: InnerLoop,
) -> HeadOutput:
    """The output of `network` for each of N samples after `inner` steps on the samples' evidence.

    `evidence` is what there is at test time: keypoints and the pseudo mesh. The result is
    differentiable with respect to the network's own parameters. First-order steps for each sample,
    of the head or of a network that reads keypoints, take the exact low-rank form of
    `low_rank`; others for each sample are mapped.
    """
    if inner.steps == 0:
        return network(inputs)
    if inner.weights_per == "batch":
        return _adapted_together(*_adaptable(network, inputs, inner), objective, evidence, inner)
    drops_out = network.training and network.head.drop1.p > 0
    if inner.second_order or drops_out or not (inner.scope == "head" or has_low_rank_form(network)):
        return adapted_output_by_mapping(network, inputs, objective, evidence, inner)
    after_steps = head_after_steps if inner.scope == "head" else network_after_steps
    return after_steps(
        network,
        inputs,
        lambda output: _total(objective, output, evidence, inner.losses),
        inner.optimiser,
        steps=inner.steps,
    )


def adapted_output_by_mapping(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    inner: InnerLoop,
) -> HeadOutput:
    """`adapted_output` with weights for every sample, by `torch.func.vmap` over whole weights."""
    module, read = _adaptable(network, inputs, inner)

    def adapt_one(own_inputs: dict[str, Tensor], own_evidence: Evidence) -> HeadOutput:
        # `vmap` strips the sample axis that networks and losses expect: a batch of one.
        batch_of_one: tuple[dict[str, Tensor], Evidence] = pytree.tree_map(
            _with_axis, (own_inputs, own_evidence)
        )
        output = _adapted_together(module, batch_of_one[0], objective, batch_of_one[1], inner)
        return HeadOutput(*(part[0] for part in output))

    axes = (0, pytree.tree_map(lambda leaf: None if leaf is None else 0, evidence))
    mapped: HeadOutput = torch.func.vmap(adapt_one, in_dims=axes, randomness="different")(
        read, evidence
    )
    return mapped


def _adaptable(
    network: MeshRegressor, inputs: dict[str, Tensor], inner: InnerLoop
) -> tuple[nn.Module, dict[str, Tensor]]:
    """What the steps adapt, and what that reads."""
    if inner.scope == "all":
        return network, inputs
    read = {"features": network.encode(inputs)}
    if network.head.reads_box_info:
        read["box_info"] = inputs["box_info"]
    return network.head, read


def _adapted_together(
    module: nn.Module,
    read: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    inner: InnerLoop,
) -> HeadOutput:
    """The output of `module` after steps on the means of the samples' losses.

    Each is the mean over those who have what it compares with, see `annotated_means`.
    """

    def run(parameters: Parameters) -> HeadOutput:
        arguments, options = ((read,), {}) if inner.scope == "all" else ((), read)
        output: HeadOutput = torch.func.functional_call(module, parameters, arguments, options)
        return output

    def losses(
        parameters: Parameters, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], HeadOutput]:
        output = run(parameters)
        values = objective.losses(output, evidence, names)
        return annotated_means(values, evidence.target), output

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
    return run(parameters)


def _with_axis(leaf: Any) -> Any:
    return leaf if leaf is None else leaf[None]


def _total(
    objective: Objective, output: HeadOutput, evidence: Evidence, names: Collection[str] | None
) -> Tensor:
    return torch.stack(list(objective.losses(output, evidence, names).values())).sum(0)
