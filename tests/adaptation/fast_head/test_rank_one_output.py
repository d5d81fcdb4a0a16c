"""A few nodes against the sum over all inputs that they stand for."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.rank_one_output import krylov_quadrature
from dualhmr.adaptation.optimisers import Moments

INPUTS = 2048


def normal(count: int = INPUTS) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(0)).double()


def uniform(count: int = INPUTS) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(0)).double()


KINDS: dict[str, Callable[[], Tensor]] = {
    "behind_a_relu": lambda: (0.5 * normal() + 0.1).relu(),
    "signed": normal,
    "exponential": lambda: -0.5 * uniform().clamp_min(1e-30).log(),
    "uniform": uniform,
    "many_small": lambda: uniform() ** 4,
    "lognormal": lambda: (2 * normal() - 2).exp(),
    "over_twelve_decades": lambda: (4 * normal() - 2).exp(),
    "zeros_and_tiny": lambda: torch.cat(
        [torch.zeros(900).double(), 1e-30 * uniform(300), 1e-6 * uniform(300), uniform(548)]
    ),
    "all_alike": lambda: torch.full((INPUTS,), 0.3).double(),
    "one_large": lambda: torch.cat([uniform(), torch.tensor([1e6]).double()]),
    "fewer_than_nodes": lambda: uniform(7),
    "nothing_but_the_one": lambda: torch.zeros(0).double(),
}


EXTREME = {"over_twelve_decades"}


@pytest.mark.parametrize("kind", KINDS)
def test_as_good_as_the_sum(kind: str) -> None:
    inputs = torch.cat([KINDS[kind](), torch.tensor([0.3, -0.7, 1.2, 1.0]).double()])
    scales = torch.cat([torch.zeros(1), torch.logspace(-30, 30, 2000)]).double()
    tolerance = 1e-7 if kind in EXTREME else 1e-9
    for epsilon in (1e-8, 1.0):
        expected = (inputs.square() / (inputs.abs() * scales[:, None] + epsilon)).sum(1)
        response = krylov_quadrature(inputs[None, None]).response(scales[None, None], epsilon)
        torch.testing.assert_close(response[0, 0], expected, rtol=tolerance, atol=0)


def test_what_is_typical_is_nearly_exact() -> None:
    inputs = torch.cat([KINDS["behind_a_relu"](), torch.ones(1).double()])
    scales = torch.logspace(-12, 12, 2000).double()
    expected = (inputs.square() / (inputs.abs() * scales[:, None] + 1e-3)).sum(1)
    response = krylov_quadrature(inputs[None, None]).response(scales[None, None], 1e-3)
    torch.testing.assert_close(response[0, 0], expected, rtol=1e-11, atol=0)


def test_every_person_has_their_own_nodes() -> None:
    inputs = torch.stack([uniform(), normal(), uniform() ** 3])[:, None]
    scales = torch.stack([torch.logspace(-3, 9, 50)] * 3)[:, None].double()
    together = krylov_quadrature(inputs).response(scales, 1e-6)
    for i in range(3):
        alone = krylov_quadrature(inputs[i : i + 1]).response(scales[i : i + 1], 1e-6)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=0)


def test_no_epsilon_and_no_gradient_is_no_nan() -> None:
    for dtype in (torch.float32, torch.float64):
        zeros = torch.zeros(1, 1, 2, dtype=dtype)
        nodes = krylov_quadrature(uniform().to(dtype)[None, None])
        assert torch.isfinite(nodes.response(Moments(zeros, zeros).root(), 0.0)).all()


def test_single_precision() -> None:
    inputs = uniform().float()[None, None]
    scales = torch.logspace(-6, 9, 50)[None, None]
    response = krylov_quadrature(inputs).response(scales, 1e-8)
    expected = (inputs[0, 0].square() / (inputs[0, 0] * scales[0, 0, :, None] + 1e-8)).sum(1)
    torch.testing.assert_close(response[0, 0], expected, rtol=1e-5, atol=0)
