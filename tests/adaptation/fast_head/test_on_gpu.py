"""On a GPU: kernels, captured graphs and precision. They have not run on hardware yet.

The same on a CPU, without kernels, shows that the tests themselves work.
"""

from collections.abc import Iterator, Sequence

import pytest
import torch
from helpers.head_and_body import HeadAndBody, head_and_body
from torch import Tensor

from dualhmr.adaptation.fast_head import (
    CapturedHeads,
    HeadAdaptation,
    TorchArithmetic,
    adapt_heads,
)
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.adaptation.fast_head.cupy_kernels import cuda_kernels
from dualhmr.adaptation.fast_head.head_step import Evaluate
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule, named_schedule
from dualhmr.networks import affine_head
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.cuda_objective import CudaObjective

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]
CASES = [
    pytest.param("cpu", "release", 4, torch.float32),
    *(
        pytest.param("cuda", name, persons, dtype, marks=needs_gpu)
        for name in SCHEDULE_NAMES
        for persons in (1, 4)
        for dtype in (torch.float32, torch.float64)
    ),
]
LOSS_WITHIN = {torch.float32: 1e-4, torch.float64: 1e-7}


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


def captured(
    case: HeadAndBody, schedule: Schedule, kernels: CudaKernels | None = None
) -> CapturedHeads:
    losses: ObjectiveGradient | CudaObjective = ObjectiveGradient(case.objective, case.evidence)
    if kernels is not None:
        losses = CudaObjective(case.objective, case.evidence, kernels)

    def prepare() -> tuple[Tensor, Evaluate]:
        head_input = case.head.head_input(case.features, case.box_info).detach()
        return head_input, losses.with_evidence(case.evidence)

    head = affine_head(case.head)
    return CapturedHeads(head, prepare, schedule, len(case.features), kernels=kernels)


def assert_alike(
    mine: Sequence[object], expected: Sequence[HeadAdaptation], *, within: float
) -> None:
    for one, other in zip(mine, expected, strict=True):
        assert isinstance(one, AdaptationResult)
        assert (one.stop_reason, one.steps) == (other.stop_reason, other.steps)
        assert one.loss_history == pytest.approx(other.loss_history, rel=within)


@pytest.mark.parametrize(("device", "name", "persons", "dtype"), CASES)
def test_captured_as_on_a_cpu(device: str, name: str, persons: int, dtype: torch.dtype) -> None:
    """With the kernels too, where CuPy is installed; twice, as a graph is replayed."""
    schedule = schedule_named(name)
    on_cpu = head_and_body("free", "cliff", persons=persons, dtype=dtype)
    head_input = on_cpu.head.head_input(on_cpu.features, on_cpu.box_info).detach()
    evaluate = ObjectiveGradient(on_cpu.objective, on_cpu.evidence)
    expected = adapt_heads(
        affine_head(on_cpu.head), head_input, evaluate, schedule, arithmetic=TorchArithmetic()
    )
    case = head_and_body("free", "cliff", persons=persons, dtype=dtype, device=device)
    for kernels in {None, cuda_kernels() if device == "cuda" else None}:
        heads = captured(case, schedule, kernels)
        for _ in range(2):
            assert_alike(heads.adapt(), expected, within=LOSS_WITHIN[dtype])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("tf32_allowed")
def test_tf32_is_off_where_it_would_count(device: str) -> None:
    case = head_and_body("free", "cliff", persons=2, dtype=torch.float32, device=device)
    histories = []
    for allowed in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        heads = captured(case, schedule_named("paper"))
        histories.append([one.loss_history for one in heads.adapt()])
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    assert histories[0] == histories[1]
