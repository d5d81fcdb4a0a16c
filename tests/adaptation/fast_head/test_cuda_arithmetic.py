"""The CUDA kernel that fuses Adam with the gradient, compiled for GPUs, and as C++ run."""

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.cpp_kernels import THREADS, cpp_arithmetic, cpp_kernel
from helpers.head_problem import normal
from torch import Tensor

from dualhmr.adaptation.fast_head import TorchArithmetic
from dualhmr.adaptation.fast_head.choose_arithmetic import _has_cupy, cuda_arithmetic
from dualhmr.adaptation.fast_head.cuda_arithmetic import (
    CudaArithmetic,
    Kernel,
    KernelVariant,
    Launch,
    kernel_source,
)
from dualhmr.adaptation.fast_head.head_gradients import OuterProducts
from dualhmr.adaptation.optimisers import Adam, AdamCoefficients, Moments

WITHIN = {torch.float32: 1e-6, torch.float64: 1e-12}
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
SHAPES = [(1, 1, 8), (2, 7, 157), (1, 4, 1024), (3, 9, 516), (2, 1, 1)]


def outer_like(matrix: Tensor, *, terms: int, seed: int) -> OuterProducts:
    persons, rows, columns = matrix.shape
    left = normal(persons, terms, rows, seed=seed).to(matrix)
    return OuterProducts(left, normal(persons, terms, columns, seed=seed + 1).to(matrix))


def assert_alike(found: tuple[Tensor, Moments], expected: tuple[Tensor, Moments]) -> None:
    for one, other in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        within = WITHIN[one.dtype]
        torch.testing.assert_close(one, other, rtol=within, atol=within)


@dtypes
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, THREADS])
@pytest.mark.parametrize("tensors", [False, True])
def test_some_updates(
    shape: tuple[int, ...], dtype: torch.dtype, threads: int, tensors: bool
) -> None:
    start = normal(*shape, seed=0).to(dtype)
    before = start.clone()
    fused, plain = cpp_arithmetic(threads=threads), TorchArithmetic()
    mine, theirs = fused.start_adam(start), plain.start_adam(start)
    places = [tensor.data_ptr() for tensor in (mine[0], *mine[1])]
    for updates in range(4):
        gradient = outer_like(start, terms=3, seed=10 * updates)
        coefficients = Adam(1e-2).coefficients(updates)
        theirs = plain.adam(*theirs, gradient, coefficients)
        if tensors:
            rate, epsilon = (torch.tensor(number, dtype=dtype) for number in coefficients[2:])
            coefficients = AdamCoefficients(*coefficients[:2], rate, epsilon)
        mine = fused.adam(*mine, gradient, coefficients)
        assert_alike(mine, theirs)
    assert places == [tensor.data_ptr() for tensor in (mine[0], *mine[1])]
    assert torch.equal(start, before)


@dtypes
@pytest.mark.parametrize("terms", [1, 2, 10, 17])
def test_any_number_of_outer_products(dtype: torch.dtype, terms: int) -> None:
    start = normal(2, 6, 20, seed=0).to(dtype)
    gradient, coefficients = outer_like(start, terms=terms, seed=1), Adam(1e-3).coefficients(0)
    fused, plain = cpp_arithmetic(), TorchArithmetic()
    mine = fused.adam(*fused.start_adam(start), gradient, coefficients)
    assert_alike(mine, plain.adam(*plain.start_adam(start), gradient, coefficients))


@dtypes
def test_vectors_of_persons_apart_in_memory(dtype: torch.dtype) -> None:
    """As slices of the activations of all iterations; and transposed."""
    start = normal(3, 8, 16, seed=0).to(dtype)
    rows, coefficients = normal(3, 6, 16, seed=1).to(dtype), Adam(1e-3).coefficients(0)
    fused, plain = cpp_arithmetic(), TorchArithmetic()
    for left, right in (
        (rows[:, :5, :8], rows[:, 1:]),
        (rows[:, :5, 8:], rows[:, :-1]),
        (rows.mT[:, :6, :4].repeat(1, 1, 2), rows),
        (rows.mT[:, :16:3, :].repeat(1, 1, 2)[..., :8], rows),
    ):
        gradient = OuterProducts(left, right)
        mine = fused.adam(*fused.start_adam(start), gradient, coefficients)
        assert_alike(mine, plain.adam(*plain.start_adam(start), gradient, coefficients))


def test_all_persons_may_start_from_one_matrix() -> None:
    start = normal(4, 5, seed=0).expand(3, 4, 5)
    matrix, moments = cpp_arithmetic().start_adam(start)
    assert all(tensor.is_contiguous() for tensor in (matrix, *moments))
    assert torch.equal(matrix, start)


def test_a_gradient_of_zero_moves_nothing_and_one_of_nan_shows() -> None:
    start, fused = normal(1, 3, 8, seed=0), cpp_arithmetic()
    gradient = OuterProducts(torch.zeros(1, 1, 3).double(), torch.ones(1, 1, 8).double())
    coefficients = Adam(1e-3, epsilon=0.0).coefficients(0)
    assert torch.equal(fused.adam(*fused.start_adam(start), gradient, coefficients)[0], start)
    gradient.left[0, 0, 1] = math.nan
    moved, _ = fused.adam(*fused.start_adam(start), gradient, coefficients)
    assert moved.isnan().any(-1).tolist() == [[False, True, False]]


def test_what_the_kernel_cannot_take() -> None:
    fused = CudaArithmetic(cpp_kernel)
    matrix = normal(1, 4, 4, seed=0)
    moments, gradient = Moments(matrix, matrix), outer_like(matrix, terms=1, seed=1)
    with pytest.raises(ValueError, match="matrix and moments must be contiguous"):
        fused.adam(matrix.mT, moments, gradient, AdamCoefficients(0.9, 0.999, 1.0, 1.0))
    wrong = AdamCoefficients(0.9, 0.999, torch.tensor(1.0), 1.0)
    with pytest.raises(
        ValueError, match=r"rate or epsilon is torch.float32 on cpu, expected torch.float64"
    ):
        fused.adam(matrix, moments, gradient, wrong)


def test_a_variant_for_every_dtype_and_width() -> None:
    made: list[KernelVariant] = []

    def compiled(variant: KernelVariant) -> Kernel:
        made.append(variant)
        return lambda *_: None

    fused = CudaArithmetic(compiled)
    for columns in (8, 6, 8):
        for dtype in (torch.float32, torch.float64):
            matrix = torch.zeros(1, 4, columns, dtype=dtype)
            gradient = outer_like(matrix, terms=2, seed=0)
            fused.adam(matrix, Moments(matrix, matrix), gradient, Adam(1.0).coefficients(0))
    single, double = torch.float32, torch.float64
    assert made == [(single, 2, 4), (double, 2, 2), (single, 2, 1)]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA compiler")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("variant", "wide"),
    [
        (KernelVariant(torch.float32, 10, 4), "ld.global.v4.f32"),
        (KernelVariant(torch.float64, 10, 2), "ld.global.v2.f64"),
        (KernelVariant(torch.float32, 3, 1), "ld.global.f32"),
    ],
)
def test_compiles_for_gpus(
    variant: KernelVariant, wide: str, architecture: str, tmp_path: Path
) -> None:
    """Without spilling registers, and with loads as wide as they should be."""
    source, ptx = tmp_path / "kernel.cu", tmp_path / "kernel.ptx"
    source.write_text(kernel_source())
    command = ["nvcc", "-std=c++17", f"-arch={architecture}", *variant.options, str(source)]
    subprocess.run([*command, "-ptx", "-o", str(ptx)], check=True)
    assert wide in ptx.read_text()
    cubin = ["-cubin", "-Xptxas", "-v", "-Werror", "all-warnings", "-o", str(tmp_path / "cubin")]
    result = subprocess.run([*command, *cubin], check=True, capture_output=True, text=True)
    assert "0 bytes spill stores, 0 bytes spill loads" in result.stdout + result.stderr


@pytest.fixture
def cupy_unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process, which has not looked for CuPy yet."""
    package = sys.modules["dualhmr.adaptation.fast_head"]
    monkeypatch.delattr(package, "cupy_kernels", raising=False)
    monkeypatch.delitem(sys.modules, f"{package.__name__}.cupy_kernels", raising=False)
    _has_cupy.cache_clear()
    yield
    _has_cupy.cache_clear()


@pytest.mark.usefixtures("cupy_unseen")
def test_without_cupy_pytorch_is_used_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert [type(cuda_arithmetic()) for _ in range(2)] == [TorchArithmetic] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cupy" in caplog.text.lower()


@pytest.mark.usefixtures("cupy_unseen")
def test_with_cupy_the_kernel_is_launched_on_pytorchs_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CuPy being a stand-in that runs the kernel in C++."""
    streams: list[object] = []

    class RawKernel:
        def __init__(self, source: str, name: str, options: tuple[str, ...]) -> None:
            assert (source, name) == (kernel_source(), "fused_adam")
            assert options == ("-std=c++17", *KernelVariant(torch.float64, 2, 2).options)

        def __call__(self, grid: Any, block: Any, arguments: Any) -> None:
            kernel = cpp_kernel(KernelVariant(torch.float64, 2, 2), threads=1)
            kernel(Launch(grid, block, arguments), torch.device("cpu"))

    def from_external(stream: Any) -> AbstractContextManager[None]:
        streams.append(stream.__cuda_stream__())
        return nullcontext()

    cuda = SimpleNamespace(Device=nullcontext, Stream=SimpleNamespace(from_external=from_external))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(RawKernel=RawKernel, cuda=cuda))
    stream = SimpleNamespace(cuda_stream=1234)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    fused, plain = cuda_arithmetic(), TorchArithmetic()
    assert isinstance(fused, CudaArithmetic)
    start = normal(2, 5, 8, seed=0)
    gradient, coefficients = outer_like(start, terms=2, seed=1), Adam(1e-3).coefficients(0)
    mine = fused.adam(*fused.start_adam(start), gradient, coefficients)
    assert_alike(mine, plain.adam(*plain.start_adam(start), gradient, coefficients))
    assert streams == [(0, 1234)]
