"""One set of adapted weights for a batch, against steps written out by hand."""

import copy

import pytest
import torch
from helpers.inner_steps import (
    PEOPLE,
    RATE,
    assert_close,
    assert_same_steps,
    of_person,
    outer_gradients,
    small_evidence,
    small_inputs,
    small_network,
    small_objective,
)
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective.objective import Objective
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.meta_step import adapted_output

INPUTS = small_inputs()


@pytest.fixture(scope="module")
def objective() -> Objective:
    return small_objective()


@pytest.fixture(params=[False, True], ids=["hmr", "cliff"])
def network(request: pytest.FixtureRequest) -> MeshRegressor:
    return small_network(reads_box_info=request.param)


def descended(network: MeshRegressor, objective: Objective, inner: InnerLoop) -> MeshRegressor:
    """A copy after the steps of autograd and torch.optim.SGD on the mean loss."""
    adapted = copy.deepcopy(network)
    part = adapted.head if inner.scope == "head" else adapted
    optimiser = torch.optim.SGD(part.parameters(), lr=inner.learning_rate)
    for _ in range(inner.steps):
        optimiser.zero_grad()
        losses = objective.losses(adapted(INPUTS), small_evidence(objective), inner.losses)
        torch.stack(list(losses.values())).sum(0).mean().backward()
        if inner.max_norm is not None:
            clip_grad_norm_(part.parameters(), inner.max_norm)
        optimiser.step()
    return adapted


@pytest.mark.parametrize("scope", ["head", "all"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("max_norm", "losses"), [(None, None), (0.05, ("keypoints_2d",))])
def test_steps_are_those_of_gradient_descent_on_a_copy(
    network: MeshRegressor,
    objective: Objective,
    scope: str,
    steps: int,
    max_norm: float | None,
    losses: tuple[str, ...] | None,
) -> None:
    """The outer gradients too: of first order, they are those at the adapted weights."""
    inner = InnerLoop(
        steps, RATE, scope=scope, weights_per="batch", max_norm=max_norm, losses=losses
    )
    output = adapted_output(network, INPUTS, objective, small_evidence(objective), inner)
    assert (output.pose_6d - network(INPUTS).pose_6d).abs().max() > 1e-5
    copied = descended(network, objective, inner)
    expected = copied(INPUTS)
    # torch's clipping adds 1e-6 to the length.
    tolerance = 1e-10 if max_norm is None else 1e-5
    assert_close(output, expected, tolerance)
    for gradient, of_copy in zip(
        outer_gradients(network, output), outer_gradients(copied, expected), strict=True
    ):
        torch.testing.assert_close(gradient, of_copy, atol=10 * tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize(
    ("scope", "second_order"), [("head", False), ("head", True), ("all", False)]
)
def test_a_batch_of_one_person_is_that_sample(
    network: MeshRegressor, objective: Objective, scope: str, second_order: bool
) -> None:
    own = {name: tensor[:1] for name, tensor in INPUTS.items()}
    known = of_person(small_evidence(objective), 0)
    of_batch, of_sample = (
        adapted_output(
            network,
            own,
            objective,
            known,
            InnerLoop(
                2, RATE, 0.1, scope=scope, second_order=second_order, weights_per=weights_per
            ),
        )
        for weights_per in ("batch", "sample")
    )
    assert_same_steps(network, of_batch, of_sample)


@pytest.mark.parametrize("weights_per", ["sample", "batch"])
@pytest.mark.parametrize("scope", ["head", "all"])
def test_samples_share_their_steps_only_where_weights_are_the_batchs(
    network: MeshRegressor, objective: Objective, scope: str, weights_per: str
) -> None:
    """Another last person changes what comes out for the others, or does not."""
    inner = InnerLoop(2, RATE, scope=scope, weights_per=weights_per)
    evidence = small_evidence(objective)
    moved = evidence.keypoints.clone()
    moved[-1] += 0.3

    def first_two(keypoints: Tensor) -> HeadOutput:
        known = evidence._replace(keypoints=keypoints)
        output = adapted_output(network, INPUTS, objective, known, inner)
        return HeadOutput(*(part[: PEOPLE - 1] for part in output))

    before, after = first_two(evidence.keypoints), first_two(moved)
    if weights_per == "sample":
        assert_close(before, after)
    else:
        assert (before.pose_6d - after.pose_6d).abs().max() > 1e-5
