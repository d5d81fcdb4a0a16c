"""The whole fast step - head, body, losses - against autograd, on bodies."""

import pytest
import torch
from helpers.gradient_cases import CAMERAS
from helpers.head_and_body import HeadAndBody, head_and_body
from torch import Tensor

from dualhmr.adaptation.adapt import Adaptation, adapt
from dualhmr.adaptation.fast_head import HeadAdaptation, adapt_head
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule, named_schedule
from dualhmr.networks import affine_head
from dualhmr.objective.gradient import ObjectiveGradient


def loss_of(
    case: HeadAndBody, parameters: dict[str, Tensor], names: object = None
) -> dict[str, Tensor]:
    inputs = (case.features, case.box_info)
    output = torch.func.functional_call(case.head, parameters, inputs)
    values = case.objective.losses(output, case.evidence, names)  # type: ignore[arg-type]
    return {name: value[0] for name, value in values.items()}


def reference(case: HeadAndBody, schedule: Schedule) -> Adaptation:
    start = {name: each.detach() for name, each in case.head.named_parameters()}
    return adapt(start, lambda now, names: (loss_of(case, now, names), ()), schedule)


def fast(case: HeadAndBody, schedule: Schedule) -> HeadAdaptation:
    evaluate = ObjectiveGradient(case.objective, case.evidence)
    head_input = case.head.head_input(case.features, case.box_info)
    return adapt_head(affine_head(case.head), head_input, evaluate, schedule)


def schedule_of(name: str, *, tolerance: float = 0.0) -> Schedule:
    return named_schedule(
        name, adam_rate=1e-3, descent_rate=1e-3, descent_max_norm=1.0, tolerance=tolerance
    )


def check(case: HeadAndBody, schedule: Schedule, *, within: float) -> None:
    found, expected = fast(case, schedule), reference(case, schedule)
    assert (found.stop_reason, found.best_step) == (expected.stop_reason, expected.best_step)
    assert len(expected.loss_history) > 1
    assert min(expected.loss_history) < expected.loss_history[0]
    assert found.loss_history == pytest.approx(expected.loss_history, rel=within)
    torch.testing.assert_close(found.parameters, expected.parameters, rtol=within, atol=within)


@pytest.mark.parametrize("body", ["free", "smpl"])
@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_fourteen_steps_of_every_schedule(body: str, camera: str, name: str) -> None:
    check(head_and_body(body, camera), schedule_of(name), within=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 5, 10])
def test_any_number_of_iterations(iterations: int) -> None:
    check(head_and_body("stick", "cliff", iterations=iterations), schedule_of("paper"), within=1e-6)


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_single_precision(name: str) -> None:
    # Fewer steps: where an absolute value's sign flips in rounding, Adam goes another way.
    case = head_and_body("free", "cliff", dtype=torch.float32)
    check(case, schedule_of(name).limited_to(5), within=1e-4)


def test_stops_at_the_same_step() -> None:
    schedule = schedule_of("paper", tolerance=0.02)
    case = head_and_body("stick", "cliff")
    check(case, schedule, within=1e-6)
    assert fast(case, schedule).steps < 14


def test_torchs_own_adam() -> None:
    case = head_and_body("stick", "cliff")
    found = fast(case, schedule_of("paper"))
    optimiser = torch.optim.Adam(case.head.parameters(), lr=1e-3)
    history = []
    for _ in range(14):
        optimiser.zero_grad()
        loss = torch.stack(list(loss_of(case, dict(case.head.named_parameters())).values())).sum()
        history.append(float(loss.detach()))
        loss.backward()
        optimiser.step()
    assert found.loss_history[:14] == pytest.approx(history, rel=1e-6)
    assert found.best_step == 14
    now = {name: each.detach() for name, each in case.head.named_parameters()}
    torch.testing.assert_close(found.parameters, now, rtol=1e-6, atol=1e-6)
