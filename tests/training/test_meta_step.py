"""Test-time optimisation inside training, against its own definition, autograd and differences."""

import copy
import dataclasses

import pytest
import torch
from helpers.inner_steps import (
    PEOPLE,
    RATE,
    assert_close,
    assert_same_steps,
    normal,
    of_person,
    outer_gradients,
    outer_loss,
    small_evidence,
    small_inputs,
    small_network,
    small_objective,
)
from torch import Tensor

from dualhmr.adaptation.optimisers import GradientDescent
from dualhmr.adaptation.step import adaptation_step
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective.objective import Evidence, Objective
from dualhmr_training import meta_step
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.meta_step import adapted_output, adapted_output_by_mapping


@pytest.fixture(scope="module")
def objective() -> Objective:
    return small_objective()


@pytest.fixture(params=[False, True], ids=["hmr", "cliff"])
def network(request: pytest.FixtureRequest) -> MeshRegressor:
    return small_network(reads_box_info=request.param)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return small_inputs()


@pytest.fixture(scope="module")
def evidence(objective: Objective) -> Evidence:
    return small_evidence(objective)


def test_the_inner_step_is_the_one_of_test_time() -> None:
    assert meta_step.adaptation_step is adaptation_step


def test_no_steps_is_ordinary_training(
    network: MeshRegressor, inputs: dict[str, Tensor], objective: Objective, evidence: Evidence
) -> None:
    output = adapted_output(network, inputs, objective, evidence, InnerLoop(steps=0))
    assert_close(output, network(inputs))


@pytest.mark.parametrize("losses", [None, ("keypoints_2d",)])
@pytest.mark.parametrize("max_norm", [None, 0.01])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_low_rank_form_equals_steps_for_each_sample(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    losses: tuple[str, ...] | None,
    max_norm: float | None,
    steps: int,
) -> None:
    inner = InnerLoop(steps=steps, learning_rate=RATE, losses=losses, max_norm=max_norm)
    fast = adapted_output(network, inputs, objective, evidence, inner)
    assert (fast.pose_6d - network(inputs).pose_6d).abs().max() > 1e-5
    plain = adapted_output_by_mapping(network, inputs, objective, evidence, inner)
    assert_same_steps(network, fast, plain)
    with torch.no_grad():  # as in validation
        assert_close(adapted_output(network, inputs, objective, evidence, inner), plain)


@pytest.mark.parametrize("steps", [1, 3])
def test_every_sample_is_adapted_alone(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    steps: int,
) -> None:
    inner = InnerLoop(steps=steps, learning_rate=RATE)
    together = adapted_output(network, inputs, objective, evidence, inner)
    for person in range(PEOPLE):
        own = {name: tensor[person : person + 1] for name, tensor in inputs.items()}
        known = of_person(evidence, person)
        alone = adapted_output(network, own, objective, known, inner)
        assert_close(alone, HeadOutput(*(part[person : person + 1] for part in together)))


def test_steps_are_those_of_gradient_descent_on_a_copy(
    network: MeshRegressor, inputs: dict[str, Tensor], objective: Objective, evidence: Evidence
) -> None:
    """Three steps for one sample, by plain autograd and torch.optim.SGD on the head."""
    own = {name: tensor[:1] for name, tensor in inputs.items()}
    known = of_person(evidence, 0)
    adapted = copy.deepcopy(network)
    optimiser = torch.optim.SGD(adapted.head.parameters(), lr=RATE)
    for _ in range(3):
        optimiser.zero_grad()
        sum(objective.losses(adapted(own), known).values()).sum().backward()  # type: ignore[union-attr]
        optimiser.step()
    inner = InnerLoop(steps=3, learning_rate=RATE)
    assert_close(adapted_output(network, own, objective, known, inner), adapted(own), 1e-10)


def test_first_order_ignores_how_the_step_depends_on_the_weights(
    network: MeshRegressor, inputs: dict[str, Tensor], objective: Objective, evidence: Evidence
) -> None:
    """The outer gradient is that at the adapted weights, taken as one at the weights."""
    first, second = (
        outer_gradients(
            network,
            adapted_output(
                network,
                inputs,
                objective,
                evidence,
                InnerLoop(learning_rate=RATE, second_order=order),
            ),
        )
        for order in (False, True)
    )
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("weights_per", ["sample", "batch"])
@pytest.mark.parametrize("scope", ["head", "all"])
def test_second_order_against_finite_differences(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    objective: Objective,
    evidence: Evidence,
    scope: str,
    weights_per: str,
) -> None:
    inner = InnerLoop(learning_rate=RATE, second_order=True, scope=scope, weights_per=weights_per)

    def outer() -> Tensor:
        output = adapted_output(network, inputs, objective, evidence, inner)
        return outer_loss(output)

    gradients = torch.autograd.grad(outer(), list(network.parameters()))
    for seed in range(3):
        directions = [normal(*p.shape, seed=seed + 10) for p in network.parameters()]
        slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                for parameter, direction in zip(network.parameters(), directions, strict=True):
                    parameter += step * direction
            ends.append(outer().item())
            with torch.no_grad():
                for parameter, direction in zip(network.parameters(), directions, strict=True):
                    parameter -= step * direction
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_the_pseudo_mesh_gets_no_gradient(
    network: MeshRegressor, inputs: dict[str, Tensor], objective: Objective, evidence: Evidence
) -> None:
    assert evidence.target is not None
    rotations = evidence.target.rotations.clone().requires_grad_()
    known = evidence._replace(target=evidence.target._replace(rotations=rotations))
    output = adapted_output(network, inputs, objective, known, InnerLoop(learning_rate=RATE))
    (gradient,) = torch.autograd.grad(outer_loss(output), rotations, allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "inner steps are -1"),
        ({"scope": "heads"}, "unknown inner scope 'heads'"),
        ({"weights_per": "person"}, "unknown inner weights_per 'person'"),
    ],
)
def test_bad_configurations(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(InnerLoop(), **options)  # type: ignore[arg-type]


def test_clipped_descent_bounds_the_step() -> None:
    parameters = {"a": normal(3, seed=1), "b": normal(2, seed=2)}
    gradients = {"a": 10 * normal(3, seed=3), "b": 10 * normal(2, seed=4)}
    optimiser = GradientDescent(0.1, max_norm=2.0)
    updated, _ = optimiser.update(parameters, gradients, optimiser.start(parameters))
    moved = torch.cat([updated[name] - parameters[name] for name in parameters])
    assert moved.norm().item() == pytest.approx(0.2)
    small = {name: 1e-3 * gradient for name, gradient in gradients.items()}
    clipped, _ = optimiser.update(parameters, small, optimiser.start(parameters))
    plain, _ = GradientDescent(0.1).update(parameters, small, optimiser.start(parameters))
    torch.testing.assert_close(clipped, plain)
