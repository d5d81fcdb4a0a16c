"""On a GPU: the kernel, captured graphs and precision. They have not run on hardware yet."""

from collections.abc import Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from dualhmr.adaptation.fast_head import (
    CapturedHeads,
    HeadAdaptation,
    TorchArithmetic,
    adapt_heads,
    arithmetic_for,
)
from dualhmr.adaptation.fast_head.cuda_arithmetic import CudaArithmetic
from dualhmr.adaptation.fast_head.cuda_graph import CudaReplay
from dualhmr.adaptation.fast_head.head_gradients import OuterProducts
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule, named_schedule

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "gpu_step.py"
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
LOSS_WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}


@pytest.fixture(scope="module")
def benchmark_script() -> ModuleType:
    spec = spec_from_file_location("gpu_step", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tf32_allowed() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = True
    yield
    matmul.allow_tf32 = before


def schedule_named(name: str) -> Schedule:
    return named_schedule(
        name, adam_rate=1e-4, descent_rate=1e-3, descent_max_norm=0.5, tolerance=1e-3
    )


def fused() -> CudaArithmetic:
    pytest.importorskip("cupy")
    made = arithmetic_for(torch.zeros(1, device=CUDA))
    assert isinstance(made, CudaArithmetic)
    return made


def assert_alike(
    mine: Sequence[HeadAdaptation], expected: Sequence[HeadAdaptation], *, within: float
) -> None:
    for one, other in zip(mine, expected, strict=True):
        assert (one.stop_reason, one.steps) == (other.stop_reason, other.steps)
        assert one.loss_history == pytest.approx(other.loss_history, rel=within)
        close = {"rtol": 10 * within, "atol": 10 * within, "check_device": False}
        torch.testing.assert_close(one.parameters, other.parameters, **close)


def test_the_benchmark_runs(benchmark_script: ModuleType, capsys: Any) -> None:
    arguments = [
        "--device",
        "cpu",
        "--batches",
        "2",
        "--features",
        "8",
        "--hidden",
        "8",
        "--iterations",
        "2",
    ]
    benchmark_script.main([*arguments, "--steps", "2", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert '"way": "captured torch"' in printed
    assert '"gb_per_s"' in printed


@needs_gpu
@dtypes
@pytest.mark.parametrize("shape", [(1, 1, 157), (2, 7, 157), (1, 1024, 1024), (3, 157, 1024)])
@pytest.mark.parametrize("terms", [1, 3, 10])
def test_the_kernel(shape: tuple[int, int, int], terms: int, dtype: torch.dtype) -> None:
    persons, rows, columns = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(CUDA, dtype)

    start, one, other = normal(*shape), fused(), TorchArithmetic()
    mine, theirs = one.start_adam(start), other.start_adam(start)
    for updates in range(3):
        gradient = OuterProducts(normal(persons, terms, rows), normal(persons, terms, columns))
        coefficients = Adam(1e-2).coefficients(updates)
        mine = one.adam(*mine, gradient, coefficients)
        theirs = other.adam(*theirs, gradient, coefficients)
    within = 1e-5 if dtype == torch.float32 else 1e-12
    for found, expected in zip((mine[0], *mine[1]), (theirs[0], *theirs[1]), strict=True):
        torch.testing.assert_close(found, expected, rtol=within, atol=within)


@needs_gpu
@dtypes
@pytest.mark.parametrize("persons", [1, 4])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("way", ["torch", "fused"])
def test_captured_as_eager_and_as_on_a_cpu(
    benchmark_script: ModuleType, way: str, name: str, persons: int, dtype: torch.dtype
) -> None:
    if way == "fused":
        fused()
    script, schedule, sizes = benchmark_script, schedule_named(name), (64, 32, 3)
    known = script.people(persons, script.Sizes(*sizes), CUDA, dtype)
    arithmetic = script.arithmetics(CUDA)[way]()
    captured = CapturedHeads(
        known.head,
        known.evaluate,
        schedule,
        persons,
        shared=[known.objective],
        arithmetic=arithmetic,
    )
    on_cpu = script.people(persons, script.Sizes(*sizes), CPU, dtype)
    for _ in range(2):
        mine = captured.adapt(known.head_input, known.evaluate)
        eager = adapt_heads(
            known.head, known.head_input, known.evaluate, schedule, arithmetic=TorchArithmetic()
        )
        assert_alike(mine, eager, within=LOSS_WITHIN[dtype])
    expected = adapt_heads(
        on_cpu.head, on_cpu.head_input, on_cpu.evaluate, schedule, arithmetic=TorchArithmetic()
    )
    assert_alike(mine, expected, within=LOSS_WITHIN[dtype])


@needs_gpu
def test_one_group_after_the_other(benchmark_script: ModuleType) -> None:
    script, schedule = benchmark_script, schedule_named("paper")
    known = script.people(4, script.Sizes(64, 32, 3), CUDA, torch.float64)
    replay = CudaReplay(CUDA)

    def half(which: slice) -> tuple[torch.Tensor, Any]:
        evidence = script.pytree.tree_map(lambda x: x[which].clone(), known.evidence)
        return known.head_input[which], script.ObjectiveGradient(known.objective, evidence)

    halves = [half(slice(0, 2)), half(slice(2, 4))]
    captured = CapturedHeads(
        known.head, halves[0][1], schedule, 2, shared=[known.objective], replay=replay
    )
    found = [captured.adapt(*each) for each in (halves[1], halves[0], halves[1])]
    for mine, (head_input, evaluate) in zip(found, [halves[1], halves[0], halves[1]], strict=True):
        expected = adapt_heads(
            known.head, head_input, evaluate, schedule, arithmetic=TorchArithmetic()
        )
        assert_alike(mine, expected, within=1e-9)


@needs_gpu
@pytest.mark.usefixtures("tf32_allowed")
def test_tf32_is_off_where_it_would_count(benchmark_script: ModuleType) -> None:
    script, schedule = benchmark_script, schedule_named("paper")
    known = script.people(2, script.Sizes(512, 256, 10), CUDA, torch.float32)
    shared = [known.objective]
    histories = []
    for allowed in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        captured = CapturedHeads(known.head, known.evaluate, schedule, 2, shared=shared)
        mine = captured.adapt(known.head_input, known.evaluate)
        histories.append([one.loss_history for one in mine])
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    assert histories[0] == histories[1]
