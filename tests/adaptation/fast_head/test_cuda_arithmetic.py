"""The kernels of a captured step, compiled as C++ and run, against PyTorch."""

import pytest
import torch
from helpers.cpp_kernels import THREADS, cpp_kernel
from helpers.head_problem import HeadProblem, normal
from torch import Tensor

from dualhmr.adaptation.fast_head import TorchArithmetic
from dualhmr.adaptation.fast_head.affine_head import ON_INPUT
from dualhmr.adaptation.fast_head.cuda_arithmetic import CudaArithmetic, CudaMatrix, CudaOutput
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, Kernel, KernelVariant
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    OuterProducts,
    matrix_gradients,
    squared_norm,
)
from dualhmr.adaptation.fast_head.head_step import DenseMatrix
from dualhmr.adaptation.fast_head.rank_one_output import GridQuadratureInput, RankOneOutput
from dualhmr.adaptation.optimisers import (
    Adam,
    AdamCoefficients,
    GradientDescent,
    Moments,
    clip_scale,
)

WITHIN = {torch.float32: 1e-5, torch.float64: 1e-12}
KERNELS = CudaKernels(cpp_kernel)
CASES = [  # shape, terms, dtype, threads
    ((1, 1, 8), 1, torch.float32, 1),
    ((2, 7, 157), 3, torch.float32, 1),
    ((2, 7, 516), 3, torch.float32, THREADS),
    ((2, 5, 516), 3, torch.float64, 1),
]


def arithmetic(threads: int = 1) -> CudaArithmetic:
    kernels = KERNELS
    if threads > 1:
        kernels = CudaKernels(lambda variant: cpp_kernel(variant, threads=threads))
    return CudaArithmetic(kernels)


def memory(*shape: int, dtype: torch.dtype) -> tuple[Tensor, Moments]:
    return normal(*shape, seed=0).to(dtype), Moments(*torch.zeros(2, *shape, dtype=dtype))


def coefficients(dtype: torch.dtype, updates: int) -> AdamCoefficients:
    """As a graph has them: rate and epsilon in memory."""
    plain = Adam(1e-2).coefficients(updates)
    numbers = (torch.tensor(number, dtype=dtype) for number in plain[2:])
    return AdamCoefficients(*plain[:2], *numbers)


def assert_alike(found: DenseMatrix | RankOneOutput, expected: DenseMatrix | RankOneOutput) -> None:
    within = WITHIN[found.value.dtype]
    torch.testing.assert_close(found.value, expected.value, rtol=within, atol=within)
    if expected.moments is not None:
        torch.testing.assert_close(found.moments, expected.moments, rtol=within, atol=within)


def rows(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Vectors of persons that lie apart, as slices of all iterations' activations."""
    persons, count, size = shape
    return normal(persons, count + 1, size, seed=seed).to(dtype)[:, :-1]


@pytest.mark.parametrize(("shape", "terms", "dtype", "threads"), CASES)
def test_matrices(
    shape: tuple[int, int, int], terms: int, dtype: torch.dtype, threads: int
) -> None:
    persons, height, width = shape
    value, moments = memory(*shape, dtype=dtype)
    mine = CudaMatrix(value.clone(), arithmetic(threads), moments)
    theirs = DenseMatrix(value, TorchArithmetic())
    place = mine.value.data_ptr()
    for updates in range(3):
        left = rows(persons, terms, height, dtype=dtype, seed=10 * updates)
        right = rows(persons, terms, width, dtype=dtype, seed=10 * updates + 1)
        if updates == 1:  # transposed: contiguous in another way
            left = left.mT.contiguous().mT
        gradient, by = OuterProducts(left, right), coefficients(dtype, updates)
        assert mine.adam_step(gradient, by) is mine
        theirs = theirs.adam_step(gradient, by)
        assert_alike(mine, theirs)
    rates = normal(persons, 1, 1, seed=5).to(dtype)
    for rate in (0.1, rates):
        assert_alike(
            mine.gradient_step(gradient, rate), theirs := theirs.gradient_step(gradient, rate)
        )
    assert mine.value.data_ptr() == place


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_output_of_the_inputs_matrix(dtype: torch.dtype) -> None:
    head_input = GridQuadratureInput(normal(2, 30, seed=3).to(dtype))
    value, moments = memory(2, 1, 140, dtype=dtype)
    mine = CudaOutput(value.clone(), head_input, moments, arithmetic())
    theirs = RankOneOutput(value, head_input)
    for updates in range(3):
        left = normal(2, 1, 140, seed=updates).to(dtype)
        gradient, by = OuterProducts(left, head_input.values), coefficients(dtype, updates)
        theirs = theirs.adam_step(gradient, by)
        assert_alike(mine.adam_step(gradient, by), theirs)
    rate = normal(2, 1, 1, seed=5).to(dtype)
    assert_alike(mine.gradient_step(gradient, rate), theirs.gradient_step(gradient, rate))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("iterations", [1, 4])
def test_iterations(iterations: int, dtype: torch.dtype) -> None:
    problem = HeadProblem.of(persons=3, dtype=dtype, iterations=iterations)
    head = problem.affine
    matrices = {name: matrix.expand(3, *matrix.shape) for name, matrix in head.matrices.items()}
    values = GridQuadratureInput(problem.head_input).values
    constant = values @ matrices.pop(ON_INPUT).mT
    gradient = normal(3, 157, seed=9).to(dtype)
    found = []
    for each in (arithmetic(), TorchArithmetic()):
        activations = each.forward(matrices, constant, head.start, iterations)
        found.append((activations[:2], each.backward(matrices, activations, gradient)))
    within = WITHIN[dtype]
    torch.testing.assert_close(found[0], found[1], rtol=within, atol=within)


@pytest.mark.parametrize(
    ("terms", "dtype", "threads"),
    [(3, torch.float32, THREADS), (10, torch.float64, 1)],
)
def test_the_rate_of_clipped_descent(terms: int, dtype: torch.dtype, threads: int) -> None:
    """Of a gradient that is clipped, one that is not, one of zero and one that is not finite."""
    scales = torch.tensor([1.0, 1e-4, 0.0, torch.nan], dtype=dtype)[:, None, None]

    def vectors(size: int, seed: int) -> Tensor:
        return normal(4, terms, size, seed=seed).to(dtype)

    of_estimate, of_hidden1, of_hidden2 = (
        scales * vectors(size, seed) for seed, size in enumerate((9, 40, 40))
    )
    head_input = GridQuadratureInput(normal(4, 30, seed=7).to(dtype))
    activations = Activations(
        normal(4, terms + 1, 9, seed=3).to(dtype), (vectors(40, 4), vectors(40, 5))
    )
    through_head = ActivationGradients(of_estimate, (of_hidden1, of_hidden2))
    gradients = matrix_gradients(activations, through_head, head_input.values)
    by = GradientDescent(0.1, max_norm=2.0)
    expected = by.learning_rate * clip_scale(squared_norm(gradients), 2.0)
    assert expected[0] < expected[1] == expected[2]
    found = arithmetic(threads).clipped_rate(gradients, head_input.squared_norm, by)
    within = WITHIN[dtype]
    torch.testing.assert_close(found, expected, rtol=within, atol=0, equal_nan=True)


def test_what_the_kernels_cannot_take() -> None:
    matrix = normal(1, 4, 4, seed=0)
    by, gradient = coefficients(torch.float64, 0), OuterProducts(matrix, matrix)
    turned = CudaMatrix(matrix.mT, arithmetic(), Moments(matrix, matrix))
    with pytest.raises(ValueError, match="matrix and moments must be contiguous"):
        turned.adam_step(gradient, by)
    mixed = CudaMatrix(matrix, arithmetic(), Moments(matrix, matrix.float()))
    with pytest.raises(ValueError, match=r"update_matrix got .*; expected torch.float64 on one"):
        mixed.adam_step(gradient, by)
    with pytest.raises(TypeError, match="rate and epsilon must be tensors"):
        CudaMatrix(matrix, arithmetic(), Moments(matrix, matrix)).adam_step(
            gradient, Adam(1.0).coefficients(0)
        )


def test_a_variant_for_every_dtype_and_width() -> None:
    made: list[tuple[torch.dtype, int]] = []

    def compiled(variant: KernelVariant) -> Kernel:
        made.append((variant.dtype, dict(variant.sizes)["WIDTH"]))
        return lambda *_: None

    fused = CudaArithmetic(CudaKernels(compiled))
    for columns in (8, 6, 8):
        for dtype in (torch.float32, torch.float64):
            matrix = torch.zeros(1, 4, columns, dtype=dtype)
            gradient = OuterProducts(torch.zeros(1, 2, 4, dtype=dtype), matrix[:, :2].clone())
            CudaMatrix(matrix, fused, Moments(matrix, matrix)).adam_step(
                gradient, coefficients(dtype, 0)
            )
    single, double = torch.float32, torch.float64
    assert made == [(single, 4), (double, 2), (single, 1)]
