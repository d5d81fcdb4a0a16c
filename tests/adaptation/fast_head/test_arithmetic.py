"""Compiled loops against PyTorch, and both against the head module and autograd."""

from collections.abc import Sequence

import pytest
import torch
from helpers.head_problem import HeadProblem, normal
from torch import Tensor

from dualhmr.adaptation.fast_head import TorchArithmetic, arithmetic_for
from dualhmr.adaptation.fast_head.affine_head import ON_INPUT
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    OuterProducts,
    matrix_gradients,
    nan_unless_finite,
    squared_norm,
)
from dualhmr.adaptation.fast_head.rank_one_output import HeadInput
from dualhmr.adaptation.optimisers import Adam, Moments

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
    mine, expected = compiled.start_adam(start), plain.start_adam(start)
    for updates in range(4):
        gradient = OuterProducts(
            normal(2, terms, rows, seed=2 * updates + 1).to(dtype),
            normal(2, terms, columns, seed=2 * updates + 2).to(dtype),
        )
        coefficients = Adam(0.1, epsilon=1e-2).coefficients(updates)
        mine = compiled.adam(*mine, gradient, coefficients)
        expected = plain.adam(*expected, gradient, coefficients)
    close((mine[0], *mine[1]), (expected[0], *expected[1]), dtype)
    assert torch.equal(start, normal(2, rows, columns, seed=0).to(dtype))


@dtypes
@pytest.mark.parametrize("arithmetic", [TorchArithmetic(), CompiledArithmetic()])
def test_adam_changes_nothing_where_the_gradient_is_zero(
    arithmetic: TorchArithmetic | CompiledArithmetic, dtype: torch.dtype
) -> None:
    start = normal(1, 6, 5, seed=0).to(dtype)
    zero = OuterProducts(torch.zeros(1, 2, 6, dtype=dtype), torch.ones(1, 2, 5, dtype=dtype))
    coefficients = Adam(0.1, epsilon=0.0).coefficients(0)
    matrix, _ = arithmetic.adam(*arithmetic.start_adam(start), zero, coefficients)
    assert torch.equal(matrix, start)


@dtypes
@pytest.mark.parametrize("hidden", [5, 24, 67])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_iterations(iterations: int, hidden: int, dtype: torch.dtype) -> None:
    problem = HeadProblem.of(persons=2, hidden=hidden, iterations=iterations, dtype=dtype)
    head = problem.affine
    head_input = HeadInput(problem.head_input).values
    matrices = {name: m.expand(2, *m.shape) for name, m in head.matrices.items()}
    constant = head_input @ matrices.pop(ON_INPUT).mT
    plain, compiled = TorchArithmetic(), CompiledArithmetic()
    forward = (matrices, constant, head.start, iterations)
    expected, found = plain.forward(*forward), compiled.forward(*forward)
    close([found.estimates, *found.hidden], [expected.estimates, *expected.hidden], dtype)
    gradient = normal(2, 157, seed=9).to(dtype)
    gradients = plain.backward(matrices, expected, gradient)
    others = compiled.backward(matrices, found, gradient)
    close([others.estimates, *others.hidden], [gradients.estimates, *gradients.hidden], dtype)

    def estimate(matrices: dict[str, Tensor]) -> Tensor:
        own = {name: matrix for name, matrix in matrices.items() if name != ON_INPUT}
        constant = head_input @ matrices[ON_INPUT].mT
        activations = plain.forward(own, constant, head.start, iterations)
        return (activations.estimates[:, -1] * gradient).sum()

    every = {name: m.expand(2, *m.shape).clone() for name, m in head.matrices.items()}
    by_autograd = torch.func.grad(estimate)(every)
    for name, outer in matrix_gradients(expected, gradients, head_input).items():
        close([outer.dense()], [by_autograd[name]], dtype)


def test_the_head_is_the_modules() -> None:
    problem = HeadProblem.of(persons=3, iterations=4)
    head = problem.affine
    head_input = HeadInput(problem.head_input).values
    matrices = {name: m.expand(3, *m.shape) for name, m in head.matrices.items()}
    activations = TorchArithmetic().forward(
        matrices, head_input @ matrices[ON_INPUT].mT, head.start, head.iterations
    )
    expected = torch.cat(problem.head(problem.features, problem.box_info), dim=1).detach()
    torch.testing.assert_close(activations.estimates[:, -1], expected)


@pytest.mark.parametrize("hidden", [0, 6])
def test_norm_and_finiteness_without_the_matrices(hidden: int) -> None:
    def rows(count: int, size: int, seed: int) -> Tensor:
        return normal(2, count, size, seed=seed)

    first = rows(3, hidden or 4, 0)
    activations = Activations(rows(4, 4, 1), (rows(3, hidden, 2), rows(3, hidden, 3)))
    through_head = ActivationGradients(rows(3, 4, 4), (first, rows(3, hidden, 5)))
    if not hidden:
        activations = activations._replace(hidden=())
        through_head = ActivationGradients(first, ())
    gradients = matrix_gradients(activations, through_head, rows(1, 5, 6))
    dense = [gradient.dense() for gradient in gradients.values()]
    expected = sum(matrix.square().sum((1, 2)) for matrix in dense)
    torch.testing.assert_close(squared_norm(gradients), expected)
    loss = torch.tensor([1.0, 2.0]).double()
    assert torch.equal(nan_unless_finite(loss, gradients), loss)
    for wrong in (torch.nan, torch.inf, -torch.inf):
        for part in (*through_head.hidden, through_head.estimates):
            own = part[1, 2].clone()
            part[1, 2, 0] = wrong
            broken = matrix_gradients(activations, through_head, rows(1, 5, 6))
            found = nan_unless_finite(loss, broken)
            assert torch.isnan(found).tolist() == [False, True]
            part[1, 2] = own


def test_arithmetic_for_a_dtype_and_device() -> None:
    assert isinstance(arithmetic_for(torch.zeros(1)), CompiledArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1).double()), CompiledArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1).half()), TorchArithmetic)
    assert isinstance(arithmetic_for(torch.zeros(1, device="meta")), TorchArithmetic)


def test_the_memory_of_one_person_serves_the_next() -> None:
    arithmetic, start = CompiledArithmetic(), normal(1, 11, 13, seed=0)
    matrix, moments = arithmetic.start_adam(start)
    matrix.fill_(5.0)
    arithmetic.recycle((matrix, *moments))
    again, others = arithmetic.start_adam(start)
    assert {t.data_ptr() for t in (again, *others)} == {t.data_ptr() for t in (matrix, *moments)}
    assert torch.equal(again, start)
    assert isinstance(others, Moments)
    assert not any(moment.any() for moment in others)
