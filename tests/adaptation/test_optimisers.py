from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser, Parameters

STEPS = 20


def start() -> Parameters:
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(4, 3, generator=generator).double(),
        "offset": torch.randn(3, generator=generator).double(),
    }


def bumpy(parameters: Parameters) -> Tensor:
    """Neither convex nor the same in all directions."""
    matrix, offset = parameters["matrix"], parameters["offset"]
    scales = torch.tensor([1e-3, 1.0, 50.0]).double()
    return (matrix.sin() @ (scales * offset)).square().sum() + (matrix * 3).cos().sum()


def ours(optimiser: Optimiser) -> list[Parameters]:
    parameters = start()
    state = optimiser.start(parameters)
    history = []
    for _ in range(STEPS):
        gradients = torch.func.grad(bumpy)(parameters)
        parameters, state = optimiser.update(parameters, gradients, state)
        history.append(parameters)
    assert state.updates == STEPS
    return history


def torchs(make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> list[Parameters]:
    parameters = {name: tensor.requires_grad_() for name, tensor in start().items()}
    optimiser = make(list(parameters.values()))
    history = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        bumpy(parameters).backward()
        optimiser.step()
        history.append({name: tensor.detach().clone() for name, tensor in parameters.items()})
    return history


@pytest.mark.parametrize(
    ("optimiser", "make"),
    [
        (Adam(1e-2), lambda p: torch.optim.Adam(p, lr=1e-2)),
        (
            Adam(0.3, beta1=0.5, beta2=0.9, epsilon=1e-3),
            lambda p: torch.optim.Adam(p, lr=0.3, betas=(0.5, 0.9), eps=1e-3),
        ),
        (GradientDescent(1e-5), lambda p: torch.optim.SGD(p, lr=1e-5)),
    ],
)
def test_is_pytorchs_for_twenty_steps(
    optimiser: Optimiser, make: Callable[[list[Tensor]], torch.optim.Optimizer]
) -> None:
    for mine, expected in zip(ours(optimiser), torchs(make), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimiser", [Adam(0.1), GradientDescent(0.1)])
def test_changes_nothing_in_place(optimiser: Optimiser) -> None:
    parameters = start()
    before = {name: tensor.clone() for name, tensor in parameters.items()}
    gradients = {name: torch.ones_like(tensor) for name, tensor in parameters.items()}
    state = optimiser.start(parameters)
    _, later = optimiser.update(parameters, gradients, state)
    moments = [{name: m.clone() for name, m in moment.items()} for moment in later[1:]]
    optimiser.update(parameters, gradients, later)
    torch.testing.assert_close(parameters, before, rtol=0, atol=0)
    torch.testing.assert_close(list(later[1:]), moments, rtol=0, atol=0)
    assert all(not moment.any() for part in state[1:] for moment in part.values())
    assert all((gradient == 1).all() for gradient in gradients.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_changes_nothing_where_the_gradient_is_zero(dtype: torch.dtype) -> None:
    parameters = {"w": torch.tensor([1.0, 2.0], dtype=dtype)}
    optimiser = Adam(0.1)
    updated, _ = optimiser.update(
        parameters, {"w": torch.zeros(2, dtype=dtype)}, optimiser.start(parameters)
    )
    assert torch.equal(updated["w"], parameters["w"])
