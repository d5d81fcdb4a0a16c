"""Compiled loops against PyTorch, and both against what they are short for."""

from collections.abc import Sequence

import pytest
import torch
from helpers.head_problem import HeadProblem, normal
from torch import Tensor

from dualhmr.adaptation.fast_head import TorchArithmetic, arithmetic_for
from dualhmr.adaptation.fast_head.affine_head import GIVEN
from dualhmr.adaptation.fast_head.arithmetic import (
    AdamCoefficients,
    Moments,
    Outer,
    all_finite,
    gradients_of,
    squared_norm,
)
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.optimisers import Adam

SHAPES = [(1, 1), (1, 7), (2, 16), (3, 5), (4, 64), (5, 33), (8, 157), (157, 64)]
TOLERANCES = {torch.float32: 3e-6, torch.float64: 1e-14}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCES))


def close(mine: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    for one, other in zip(mine, expected, strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCES[dtype] * scale)


@dtypes
@pytest.mark.parametrize("terms", [1, 2, 3, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_adam(shape: tuple[int, int], terms: int, dtype: torch.dtype) -> None:
    rows, columns = shape
    start = normal(2, rows, columns, seed=0).to(dtype)
    plain, compiled = TorchArithmetic(), CompiledArithmetic()
    mine, expected = compiled.begin(start), plain.begin(start)
    for updates in range(4):
        gradient = Outer(
            normal(2, terms, rows, seed=2 * updates + 1).to(dtype),
            normal(2, terms, columns, seed=2 * updates + 2).to(dtype),
        )
        pace = AdamCoefficients.of(Adam(0.1, epsilon=1e-2), updates)
        mine = compiled.adam(*mine, gradient, pace)
        expected = plain.adam(*expected, gradient, pace)
    close((mine[0], *mine[1]), (expected[0], *expected[1]), dtype)
    assert torch.equal(start, normal(2, rows, columns, seed=0).to(dtype))


@dtypes
@pytest.mark.parametrize("arithmetic", [TorchArithmetic(), CompiledArithmetic()])
def test_adam_rests_where_the_gradient_is_zero(
    arithmetic: TorchArithmetic | CompiledArithmetic, dtype: torch.dtype
) -> None:
    start = normal(1, 6, 5, seed=0).to(dtype)
    zero = Outer(torch.zeros(1, 2, 6, dtype=dtype), torch.ones(1, 2, 5, dtype=dtype))
    pace = AdamCoefficients.of(Adam(0.1, epsilon=0.0), 0)
    matrix, _ = arithmetic.adam(*arithmetic.begin(start), zero, pace)
    assert torch.equal(matrix, start)


@dtypes
@pytest.mark.parametrize("hidden", [5, 24, 67])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_rounds(iterations: int, hidden: int, dtype: torch.dtype) -> None:
    problem = HeadProblem.of(persons=2, hidden=hidden, iterations=iterations, dtype=dtype)
    head = problem.affine
    given = torch.cat([problem.given, torch.ones_like(problem.given[:, :1])], dim=1)[:, None]
    matrices = {name: m.expand(2, *m.shape) for name, m in head.matrices.items()}
    constant = given @ matrices.pop(GIVEN).mT
    plain, compiled = TorchArithmetic(), CompiledArithmetic()
    forward = (matrices, constant, head.start, iterations)
    expected = plain.go_forward(*forward)
    close(compiled.go_forward(*forward), expected, dtype)
    gradient = normal(2, 157, seed=9).to(dtype)
    slopes = plain.go_backward(matrices, gradient, iterations)
    close(compiled.go_backward(matrices, gradient, iterations), slopes, dtype)

    def estimate(matrices: dict[str, Tensor]) -> Tensor:
        own = {name: matrix for name, matrix in matrices.items() if name != GIVEN}
        rounds = plain.go_forward(own, given @ matrices[GIVEN].mT, head.start, iterations)
        return (rounds.estimates[:, -1] * gradient).sum()

    every = {name: m.expand(2, *m.shape).clone() for name, m in head.matrices.items()}
    by_autograd = torch.func.grad(estimate)(every)
    for name, outer in gradients_of(expected, slopes, given).items():
        close([outer.dense()], [by_autograd[name]], dtype)


def test_the_head_is_the_modules() -> None:
    problem = HeadProblem.of(persons=3, iterations=4)
    head = problem.affine
    given = torch.cat([problem.given, torch.ones_like(problem.given[:, :1])], dim=1)[:, None]
    matrices = {name: m.expand(3, *m.shape) for name, m in head.matrices.items()}
    rounds = TorchArithmetic().go_forward(
        matrices, given @ matrices[GIVEN].mT, head.start, head.iterations
    )
    expected = torch.cat(problem.head(problem.features, problem.box_info), dim=1).detach()
    torch.testing.assert_close(rounds.estimates[:, -1], expected)


def test_what_is_known_of_outer_products_unbuilt() -> None:
    gradients = {
        "a": Outer(normal(2, 3, 5, seed=0), normal(2, 3, 4, seed=1)),
        "b": Outer(normal(2, 1, 6, seed=2), normal(2, 1, 2, seed=3)),
    }
    dense = [gradient.dense() for gradient in gradients.values()]
    expected = sum(matrix.square().sum((1, 2)) for matrix in dense)
    torch.testing.assert_close(squared_norm(gradients), expected)
    for gradient, matrix in zip(gradients.values(), dense, strict=True):
        torch.testing.assert_close(gradient.total(), matrix.sum((1, 2)))
    assert all_finite(gradients).tolist() == [True, True]
    for part in gradients["a"]:
        value = part[1, 2, 3].clone()
        for wrong in (torch.nan, torch.inf, -torch.inf):
            part[1, 2, 3] = wrong
            assert all_finite(gradients).tolist() == [True, False]
        part[1, 2, 3] = value


def test_who_does_the_sums() -> None:
    assert isinstance(arithmetic_for(torch.zeros(1)), CompiledArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1).double()), CompiledArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1).half()), TorchArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1, device="meta")), TorchArithmetic)


def test_the_memory_of_one_person_serves_the_next() -> None:
    arithmetic, start = CompiledArithmetic(), normal(1, 11, 13, seed=0)
    matrix, moments = arithmetic.begin(start)
    matrix.fill_(5.0)
    arithmetic.recycle((matrix, *moments))
    again, others = arithmetic.begin(start)
    assert {t.data_ptr() for t in (again, *others)} == {t.data_ptr() for t in (matrix, *moments)}
    assert torch.equal(again, start)
    assert isinstance(others, Moments)
    assert not any(moment.any() for moment in others)
