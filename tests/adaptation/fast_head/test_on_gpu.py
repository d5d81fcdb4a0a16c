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
)
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule, named_schedule

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "gpu_step.py"
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
LOSS_WITHIN = {torch.float32: 1e-4, torch.float64: 1e-7}


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


def assert_alike(
    mine: Sequence[object], expected: Sequence[HeadAdaptation], *, within: float
) -> None:
    for one, other in zip(mine, expected, strict=True):
        assert isinstance(one, AdaptationResult)
        assert (one.stop_reason, one.steps) == (other.stop_reason, other.steps)
        assert one.loss_history == pytest.approx(other.loss_history, rel=within)


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
    assert '"way": "captured"' in printed


@needs_gpu
@dtypes
@pytest.mark.parametrize("persons", [1, 4])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_captured_as_on_a_cpu(
    benchmark_script: ModuleType, name: str, persons: int, dtype: torch.dtype
) -> None:
    """With the kernels too, where CuPy is installed; twice, as a graph is replayed."""
    script, schedule, sizes = benchmark_script, schedule_named(name), (64, 32, 3)
    on_cpu = script.random_problem(persons, script.Sizes(*sizes), CPU, dtype)
    expected = adapt_heads(
        on_cpu.head, on_cpu.head_input, on_cpu.evaluate, schedule, arithmetic=TorchArithmetic()
    )
    problem = script.random_problem(persons, script.Sizes(*sizes), CUDA, dtype)
    for _, run, _ in script.methods(problem, schedule):
        for _ in range(2):
            assert_alike(run(), expected, within=LOSS_WITHIN[dtype])


@needs_gpu
@pytest.mark.usefixtures("tf32_allowed")
def test_tf32_is_off_where_it_would_count(benchmark_script: ModuleType) -> None:
    script, schedule = benchmark_script, schedule_named("paper")
    problem = script.random_problem(2, script.Sizes(512, 256, 10), CUDA, torch.float32)
    histories = []
    for allowed in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        captured = CapturedHeads(
            problem.head, lambda: (problem.head_input, problem.evaluate), schedule, 2
        )
        histories.append([one.loss_history for one in captured.adapt()])
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    assert histories[0] == histories[1]
