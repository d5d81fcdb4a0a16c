import math
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dualhmr.adaptation.adapt import Adaptation, adapt
from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser, Parameters
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    OUT_OF_STEPS,
    Phase,
    Schedule,
    named_schedule,
)
from dualhmr.adaptation.step import LossFunction

LOSSES = ("keypoints_2d", "rotations", "camera")


class Recorded:
    """Three losses of two parameters, and the names that were asked for."""

    def __init__(self) -> None:
        self.asked: list[Collection[str] | None] = []
        self.evaluated: list[str] = []

    def __call__(
        self, parameters: Parameters, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        self.asked.append(names)
        w = parameters["w"]
        functions: dict[str, Callable[[], Tensor]] = {
            "keypoints_2d": lambda: (w[0] - 1).square() + 0.1 * w[1].square(),
            "rotations": lambda: (w - 3).square().sum(),
            "camera": lambda: torch.exp(-w[0]),
        }
        wanted = [name for name in functions if names is None or name in names]
        self.evaluated += wanted
        return {name: functions[name]() for name in wanted}, (2 * w,)


def single(function: Callable[[Tensor], Tensor]) -> LossFunction:
    """A loss function of one parameter `w` that has one loss."""

    def losses(parameters: Parameters, _: object) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        return {"loss": function(parameters["w"])}, (parameters["w"],)

    return losses


def at(*numbers: float) -> Parameters:
    return {"w": torch.tensor(numbers, dtype=torch.float64)}


def descend(rate: float, steps: int, *, tolerance: float = 0.0) -> Schedule:
    return Schedule("test", (Phase(GradientDescent(rate), steps),), tolerance)


def total(result: Adaptation, function: Recorded | None = None) -> float:
    losses, _ = (function or Recorded())(result.parameters, None)
    return float(sum(losses.values()))


def test_out_of_steps() -> None:
    result = adapt(at(0.0), single(lambda w: (w - 1).square().sum()), descend(0.25, 3))
    assert result.stop_reason == OUT_OF_STEPS == "max_steps"
    assert result.loss_history == (1.0, 0.25, 0.0625, 0.015625)
    assert result.steps == 3
    assert result.best_step == 3
    assert result.parameters["w"].tolist() == [0.875]


def test_converged_where_two_losses_are_close() -> None:
    schedule = descend(0.25, 50, tolerance=0.05)
    result = adapt(at(0.0), single(lambda w: (w - 1).square().sum()), schedule)
    assert result.stop_reason == CONVERGED == "converged"
    assert result.loss_history == (1.0, 0.25, 0.0625, 0.015625)


def test_converged_at_the_last_step_is_converged() -> None:
    schedule = descend(0.25, 3, tolerance=0.05)
    result = adapt(at(0.0), single(lambda w: (w - 1).square().sum()), schedule)
    assert result.stop_reason == CONVERGED
    assert result.steps == 3


def test_tolerance_zero_never_converges() -> None:
    result = adapt(at(1.0), single(lambda w: (w - 1).square().sum()), descend(0.25, 5))
    assert result.stop_reason == OUT_OF_STEPS
    assert result.loss_history == (0.0,) * 6
    assert result.best_step == 0  # the first among equals


@pytest.mark.parametrize(
    "function",
    [
        lambda w: torch.log(w).sum(),  # NaN below zero
        lambda w: torch.where(w > 0, w, torch.inf).sum(),
        lambda w: torch.where(w > 0, w, -torch.inf).sum(),
    ],
)
def test_a_loss_that_becomes_non_finite_ends_it(function: Callable[[Tensor], Tensor]) -> None:
    result = adapt(at(2.0), single(function), descend(0.9, 50))
    assert result.stop_reason == NON_FINITE == "non_finite"
    assert all(math.isfinite(loss) for loss in result.loss_history)
    assert len(result.outputs) == len(result.loss_history) == result.steps + 1
    assert result.steps > 0
    assert result.best_step == result.steps
    assert result.parameters["w"] > 0


def test_a_gradient_that_becomes_non_finite_ends_it() -> None:
    # |w| as a root of a square: from 1 a step of 1 arrives at 0, where the loss is finite and the
    # gradient is not.
    result = adapt(at(2.0), single(lambda w: w.square().sqrt().sum()), descend(1.0, 9))
    assert result.stop_reason == NON_FINITE
    assert result.loss_history == (2.0, 1.0)
    assert result.parameters["w"].tolist() == [1.0]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_nothing_to_fall_back_on_is_an_error(loss: float, steps: int) -> None:
    with pytest.raises(ValueError, match=r"the loss or its gradient is (nan|inf) before the first"):
        adapt(at(1.0), single(lambda w: w.sum() * loss), descend(1.0, steps))


def test_a_gradient_that_is_non_finite_at_the_start_is_an_error() -> None:
    with pytest.raises(ValueError, match="gradient is nan before the first step"):
        adapt(at(0.0), single(lambda w: w.square().sqrt().sum()), descend(1.0, 3))


@pytest.mark.parametrize("name", ["paper", "trained", "release", "eft"])
def test_no_steps_is_the_start(name: str) -> None:
    start = at(0.3, -0.2)
    result = adapt(start, Recorded(), named_schedule(name).limited_to(0))
    assert result.stop_reason == OUT_OF_STEPS
    assert (result.best_step, result.steps, len(result.loss_history)) == (0, 0, 1)
    assert torch.equal(result.parameters["w"], start["w"])


@pytest.mark.parametrize("steps", [1, 2, 14, 20])
@pytest.mark.parametrize("name", ["paper", "trained", "release", "eft"])
def test_history_and_outputs_are_the_start_and_every_step(name: str, steps: int) -> None:
    schedule = named_schedule(name, adam_rate=0.01, descent_rate=0.01, tolerance=0)
    result = adapt(at(0.0, 5.0), Recorded(), schedule.limited_to(steps))
    assert result.steps == steps
    assert len(result.loss_history) == len(result.outputs) == steps + 1
    for loss, output in zip(result.loss_history, result.outputs, strict=True):
        assert isinstance(output, tuple)
        losses, _ = Recorded()({"w": output[0] / 2}, schedule.watched.losses)
        assert loss == pytest.approx(schedule.watched.scale * float(sum(losses.values())))


def test_the_best_iterate_is_returned_and_not_the_last() -> None:
    result = adapt(at(0.2), single(lambda w: (w - 1).square().sum()), descend(0.99, 6))
    overshoots = adapt(at(0.2), single(lambda w: (w - 1).square().sum()), descend(1.5, 3))
    assert result.best_step == 6
    assert overshoots.best_step == 0
    assert overshoots.parameters["w"].tolist() == [0.2]
    dip = adapt(at(0.0), single(lambda w: torch.cos(w - 2).sum()), descend(2.0, 8))
    assert dip.loss_history[dip.best_step] == min(dip.loss_history)
    assert torch.cos(dip.parameters["w"] - 2).item() == pytest.approx(min(dip.loss_history))


@settings(deadline=None, max_examples=60)
@given(
    rate=st.floats(1e-12, 1e300) | st.floats(1e-6, 1e2),
    x=st.floats(-4, 4),
    y=st.floats(-4, 4),
    kind=st.sampled_from([Adam, GradientDescent]),
    name=st.sampled_from(["paper", "trained", "release", "eft"]),
    single_precision=st.booleans(),
)
@example(rate=1e300, x=1.0, y=1.0, kind=Adam, name="paper", single_precision=True)
@example(rate=math.nan, x=1.0, y=1.0, kind=GradientDescent, name="paper", single_precision=False)
def test_never_worse_than_the_start(
    rate: float,
    x: float,
    y: float,
    kind: Callable[[float], Optimiser],
    name: str,
    single_precision: bool,
) -> None:
    schedule = named_schedule(name, tolerance=1e-9)
    phases = tuple(replace(phase, optimiser=kind(rate)) for phase in schedule.phases)
    schedule = replace(schedule, phases=phases, iterate="best")
    start = at(x, y)
    if single_precision:
        start = {"w": start["w"].float()}
    result = adapt(start, Recorded(), schedule)
    losses, _ = Recorded()(result.parameters, schedule.watched.losses)
    achieved = schedule.watched.scale * float(sum(losses.values()))
    assert achieved <= result.loss_history[0] * (1 + 1e-6)
    assert achieved == pytest.approx(min(result.loss_history), rel=1e-6)
    assert all(math.isfinite(loss) for loss in result.loss_history)
    assert result.stop_reason in (CONVERGED, NON_FINITE, OUT_OF_STEPS)


def test_paper_descends_on_all_losses_throughout() -> None:
    function = Recorded()
    adapt(at(0.0, 5.0), function, named_schedule("paper", adam_rate=0.01, tolerance=0))
    assert function.asked == [None] * 15


def test_release_watches_2d_and_begins_with_a_step_on_all_losses() -> None:
    function, start = Recorded(), at(0.0, 5.0)
    schedule = named_schedule("release", adam_rate=0.01, descent_rate=0.1, tolerance=0)
    result = adapt(start, function, schedule)
    assert function.asked[0] is None
    assert all(set(names or LOSSES) == {"keypoints_2d"} for names in function.asked[1:])
    first, second = (output[0] / 2 for output in result.outputs[:2] if isinstance(output, tuple))
    gradient = torch.func.grad(lambda w: sum(Recorded()({"w": w}, None)[0].values()))(start["w"])
    torch.testing.assert_close(second, start["w"] - 0.1 * gradient)
    expected, _ = Recorded()({"w": first}, ["keypoints_2d"])
    assert result.loss_history[0] == pytest.approx(float(expected["keypoints_2d"]) / 5)


def test_eft_never_evaluates_another_loss() -> None:
    function = Recorded()
    result = adapt(at(0.0, 5.0), function, named_schedule("eft", adam_rate=0.01, tolerance=0))
    assert result.steps == 14
    assert function.evaluated == ["keypoints_2d"] * 15


def test_a_small_step_of_one_optimiser_does_not_end_the_next() -> None:
    # The plain step may well change the loss by less than the tolerance.
    schedule = named_schedule("trained", adam_rate=0.1, descent_rate=1e-12, tolerance=1e-6)
    result = adapt(at(0.0, 5.0), Recorded(), schedule)
    assert abs(result.loss_history[1] - result.loss_history[0]) < schedule.tolerance
    assert result.steps == 14
    assert result.loss_history[-1] < result.loss_history[0] - 0.1


def release_loop(
    function: LossFunction, start: Parameters, *, rate: float, tolerance: float, weight: float
) -> list[Tensor]:
    """The release's loop, as its facts say, with PyTorch's own optimisers: all iterates."""
    w = start["w"].clone().requires_grad_()
    plain, adam = torch.optim.SGD([w], lr=rate), torch.optim.Adam([w], lr=rate)
    iterates, before = [w.detach().clone()], None
    for step in range(15):
        losses, _ = function({"w": w}, None)
        loss = sum(losses.values()) if step == 0 else losses["keypoints_2d"] / weight
        w.grad = None
        loss.backward()
        (plain if step == 0 else adam).step()
        iterates.append(w.detach().clone())
        if before is not None and abs(loss.item() - before) < tolerance:
            break
        before = loss.item()
    return iterates


@settings(deadline=None, max_examples=60)
@given(
    x=st.floats(-4, 4),
    y=st.floats(-4, 4),
    rate=st.floats(1e-7, 0.3),
    tolerance=st.sampled_from([0.0, 2e-5, 1e-3, 0.1, 1e9]),
    weight=st.sampled_from([5.0, 1.0]),
)
@example(x=0.0, y=5.0, rate=1e-7, tolerance=2e-5, weight=5.0)  # ends after three updates
def test_release_goes_as_the_release(
    x: float, y: float, rate: float, tolerance: float, weight: float
) -> None:
    def weighted(
        parameters: Parameters, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        losses, output = Recorded()(parameters, names)
        if "keypoints_2d" in losses:
            losses["keypoints_2d"] = weight * losses["keypoints_2d"]
        return losses, output

    expected = release_loop(weighted, at(x, y), rate=rate, tolerance=tolerance, weight=weight)
    schedule = named_schedule(
        "release",
        adam_rate=rate,
        descent_rate=rate,
        tolerance=tolerance,
        keypoints_weight=weight,
    )
    result = adapt(at(x, y), weighted, schedule)
    assert result.steps == result.best_step == len(expected) - 1
    assert result.stop_reason == (OUT_OF_STEPS if tolerance == 0 else result.stop_reason)
    for output, iterate in zip(result.outputs, expected, strict=True):
        assert isinstance(output, tuple)
        torch.testing.assert_close(output[0] / 2, iterate, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result.parameters["w"], expected[-1], rtol=1e-9, atol=1e-9)


def test_the_first_2d_loss_is_compared_with_the_total_before_it() -> None:
    schedule = named_schedule("release", adam_rate=1e-9, descent_rate=1e-9)
    result = adapt(at(0.0, 5.0), Recorded(), schedule)
    # The plain step changes next to nothing, yet the total before it is another number.
    assert abs(result.loss_history[1] - result.loss_history[0]) < schedule.tolerance
    assert (result.steps, result.stop_reason) == (3, CONVERGED)


def test_a_phase_of_the_head_leaves_the_other_parameters() -> None:
    def losses(
        parameters: Parameters, _: Collection[str] | None
    ) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        total = parameters["head.w"] * parameters["backbone.w"]
        return {"keypoints_2d": total.sum()}, (total,)

    start = {"head.w": torch.ones(2), "backbone.w": torch.full((2,), 3.0)}
    plain = Phase(GradientDescent(0.1), 1, head_only=True)
    schedule = Schedule("two", (plain, Phase(GradientDescent(0.1), 1)), 0.0, iterate="last")
    first = adapt(start, losses, schedule.limited_to(1), head_prefix="head.").parameters
    assert first["head.w"].tolist() == pytest.approx([0.7, 0.7])
    assert first["backbone.w"].tolist() == [3.0, 3.0]
    second = adapt(start, losses, schedule, head_prefix="head.").parameters
    assert second["backbone.w"].tolist() == pytest.approx([2.93, 2.93])
    assert list(second) == list(start)


def test_parameters_of_a_module_are_left_alone() -> None:
    layer = torch.nn.Linear(2, 1).double()
    before = {name: tensor.detach().clone() for name, tensor in layer.named_parameters()}
    features = torch.ones(1, 2).double()

    def losses(parameters: Parameters, _: object) -> tuple[dict[str, Tensor], tuple[Tensor]]:
        output = torch.func.functional_call(layer, parameters, (features,))
        return {"loss": (output - 3).square().sum()}, (output,)

    result = adapt(dict(layer.named_parameters()), losses, descend(0.1, 4))
    assert result.best_step == 4
    torch.testing.assert_close(dict(layer.named_parameters()), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in layer.parameters())
    # Nor does the result hold on to fourteen graphs.
    assert not any(tensor.requires_grad for tensor in result.parameters.values())
    assert not any(output[0].requires_grad for output in result.outputs)  # type: ignore[index]


def test_the_same_again() -> None:
    schedule = named_schedule("release", adam_rate=0.01, descent_rate=0.1)
    first, second = (adapt(at(0.0, 5.0), Recorded(), schedule) for _ in range(2))
    assert first.loss_history == second.loss_history
    assert torch.equal(first.parameters["w"], second.parameters["w"])
