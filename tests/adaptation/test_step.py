from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser, Parameters
from dualhmr.adaptation.step import LossFunction, adaptation_step

optimisers = pytest.mark.parametrize("optimiser", [GradientDescent(0.05), Adam(0.05)])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def start(seed: int = 0) -> Parameters:
    return {"layer": normal(3, 4, seed=seed), "offset": normal(3, seed=seed + 1)}


def losses_for(goal: Tensor) -> LossFunction:
    feature = torch.tensor([0.5, -1.0, 0.0, 2.0]).double()  # a zero, as behind a ReLU

    def losses(
        parameters: Parameters, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        output = torch.tanh(parameters["layer"] @ feature) + parameters["offset"]
        values = {
            "fit": (output - goal).square().sum(),
            "size": output.pow(4).sum(),
            "sign": output.sum().exp(),
        }
        wanted = {name: value for name, value in values.items() if names is None or name in names}
        return wanted, (output,)

    return losses


GOAL = normal(3, seed=9)


@optimisers
def test_is_one_update_on_the_gradient_of_the_sum(optimiser: Optimiser) -> None:
    parameters, losses = start(), losses_for(GOAL)
    step = adaptation_step(parameters, losses, optimiser, optimiser.start(parameters))
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in parameters.items()}
    values, (output,) = losses(leaves, None)
    gradients = torch.autograd.grad(sum(values.values()), list(leaves.values()))
    torch.testing.assert_close(step.gradients, dict(zip(leaves, gradients, strict=True)))
    torch.testing.assert_close(step.losses, {name: v.detach() for name, v in values.items()})
    assert isinstance(step.output, tuple)
    torch.testing.assert_close(step.output[0], output.detach())
    expected, _ = optimiser.update(parameters, step.gradients, optimiser.start(parameters))
    torch.testing.assert_close(step.parameters, expected, rtol=0, atol=0)
    assert step.state.updates == 1


@optimisers
@pytest.mark.parametrize("keep_graph", [False, True])
def test_changes_nothing_in_place(optimiser: Optimiser, keep_graph: bool) -> None:
    parameters = start()
    state = optimiser.start(parameters)
    adaptation_step(parameters, losses_for(GOAL), optimiser, state, keep_graph=keep_graph)
    torch.testing.assert_close(parameters, start(), rtol=0, atol=0)
    assert state.updates == 0
    assert all(not moment.any() for part in state[1:] for moment in part.values())


def test_descends_on_the_named_losses_and_reports_also_the_others() -> None:
    parameters, losses, optimiser = start(), losses_for(GOAL), GradientDescent(0.1)
    state = optimiser.start(parameters)
    only = adaptation_step(parameters, losses, optimiser, state, losses=["fit"])
    both = adaptation_step(parameters, losses, optimiser, state, losses=["fit"], also=["size"])
    every = adaptation_step(parameters, losses, optimiser, state, losses=["fit"], also=None)
    torch.testing.assert_close(both.parameters, only.parameters, rtol=0, atol=0)
    torch.testing.assert_close(every.parameters, only.parameters, rtol=0, atol=0)
    assert [set(step.losses) for step in (only, both, every)] == [
        {"fit"},
        {"fit", "size"},
        {"fit", "size", "sign"},
    ]


def test_no_loss_to_descend_on_is_an_error() -> None:
    parameters, optimiser = start(), GradientDescent(0.1)
    with pytest.raises(ValueError, match=r"no loss to minimise: \['pose'\] of \['fit'\]"):
        adaptation_step(
            parameters,
            losses_for(GOAL),
            optimiser,
            optimiser.start(parameters),
            losses=["pose"],
            also=["fit"],
        )


@optimisers
@pytest.mark.parametrize("steps", [1, 2])
def test_mapped_over_samples_is_a_loop_over_them(optimiser: Optimiser, steps: int) -> None:
    people = [start(seed) for seed in (0, 10, 20)]
    goals = normal(3, 3, seed=5)

    def adapted(parameters: Parameters, goal: Tensor) -> tuple[Parameters, dict[str, Tensor]]:
        state = optimiser.start(parameters)
        for _ in range(steps):
            step = adaptation_step(parameters, losses_for(goal), optimiser, state)
            parameters, state = step.parameters, step.state
        return parameters, step.losses

    stacked = {name: torch.stack([person[name] for person in people]) for name in people[0]}
    together, losses = torch.func.vmap(adapted)(stacked, goals)
    for i, person in enumerate(people):
        alone, own_losses = adapted(person, goals[i])
        torch.testing.assert_close({k: v[i] for k, v in together.items()}, alone)
        torch.testing.assert_close({k: v[i] for k, v in losses.items()}, own_losses)


@optimisers
def test_second_order_gradients(optimiser: Optimiser) -> None:
    shapes = start()

    def after_a_step(layer: Tensor, offset: Tensor) -> Tensor:
        parameters = {"layer": layer, "offset": offset}
        step = adaptation_step(
            parameters, losses_for(GOAL), optimiser, optimiser.start(parameters), keep_graph=True
        )
        return losses_for(-GOAL)(step.parameters, ["fit"])[0]["fit"]

    leaves = [tensor.requires_grad_() for tensor in shapes.values()]
    assert torch.autograd.gradcheck(after_a_step, leaves)


def test_second_order_gradients_reach_what_the_loss_depends_on() -> None:
    goal = GOAL.clone().requires_grad_()
    parameters, optimiser = start(), GradientDescent(0.05)

    def after_a_step(goal: Tensor) -> Tensor:
        step = adaptation_step(
            parameters, losses_for(goal), optimiser, optimiser.start(parameters), keep_graph=True
        )
        return step.parameters["offset"]

    assert torch.autograd.gradcheck(after_a_step, (goal,))


@optimisers
def test_second_order_is_finite_where_the_gradient_is_zero(optimiser: Optimiser) -> None:
    weight = torch.ones(2).double().requires_grad_()
    feature = torch.tensor([3.0, 0.0]).double().requires_grad_()

    def losses(parameters: Parameters, _: object) -> tuple[dict[str, Tensor], tuple[()]]:
        return {"fit": (parameters["w"] * feature).sum().square()}, ()

    step = adaptation_step(
        {"w": weight}, losses, optimiser, optimiser.start({"w": weight}), keep_graph=True
    )
    assert step.gradients["w"][1] == 0
    gradients = torch.autograd.grad(step.parameters["w"].square().sum(), [weight, feature])
    assert all(gradient.isfinite().all() for gradient in gradients)


@optimisers
def test_first_order_takes_the_gradient_for_constant(optimiser: Optimiser) -> None:
    offset = start()["offset"].requires_grad_()
    parameters = start() | {"offset": offset}
    step = adaptation_step(parameters, losses_for(GOAL), optimiser, optimiser.start(parameters))
    assert not step.gradients["offset"].requires_grad
    for i in range(3):
        (row,) = torch.autograd.grad(step.parameters["offset"][i], offset, retain_graph=True)
        assert torch.equal(row, torch.eye(3).double()[i])
