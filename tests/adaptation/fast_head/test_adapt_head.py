"""`adapt_head` against `adapt`, its reference."""

import math
from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from helpers.head_problem import HeadProblem, arithmetics, schedule_named
from torch import Tensor

from dualhmr.adaptation.adapt import Adaptation, adapt
from dualhmr.adaptation.fast_head import Arithmetic, HeadAdaptation, TorchArithmetic, adapt_head
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    OUT_OF_STEPS,
    SCHEDULE_NAMES,
    Phase,
    Schedule,
)


def reference(problem: HeadProblem, schedule: Schedule) -> Adaptation:
    return adapt(problem.parameters, problem.loss_function, schedule)


def fast(
    problem: HeadProblem, schedule: Schedule, arithmetic: Arithmetic | None = None
) -> HeadAdaptation:
    return adapt_head(
        problem.affine, problem.head_input, problem.evaluate, schedule, arithmetic=arithmetic
    )


def assert_alike(mine: HeadAdaptation, expected: Adaptation, *, tolerance: float = 1e-9) -> None:
    assert mine.stop_reason == expected.stop_reason
    assert mine.best_step == expected.best_step
    assert mine.loss_history == pytest.approx(expected.loss_history, rel=tolerance)
    close = {"rtol": tolerance, "atol": tolerance}
    outputs = [torch.cat(output, dim=1) for output in expected.outputs]  # type: ignore[call-overload]
    torch.testing.assert_close(list(mine.outputs), outputs, **close)
    torch.testing.assert_close(mine.parameters, expected.parameters, **close)
    assert list(mine.parameters) == list(expected.parameters)


@arithmetics
@pytest.mark.parametrize("iterations", [1, 2, 3, 10])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_named_schedules(name: str, iterations: int, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(iterations=iterations, seed=iterations)
    schedule = schedule_named(name)
    mine, expected = fast(problem, schedule, arithmetic), reference(problem, schedule)
    assert mine.steps == (15 if name == "release" else 14)
    assert mine.loss_history[mine.best_step] < 0.95 * mine.loss_history[0]
    assert_alike(mine, expected)


@arithmetics
@pytest.mark.parametrize("reads_box_info", [False, True])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_many_features(name: str, reads_box_info: bool, arithmetic: Arithmetic) -> None:
    """More than the nodes that stand for them."""
    problem = HeadProblem.of(features=500, iterations=4, reads_box_info=reads_box_info)
    # Some gradients are as small as Adam's epsilon, where it matters how small they are.
    schedule = schedule_named(name)
    phases = [replace(phase, optimiser=_with_epsilon(phase, 1e-2)) for phase in schedule.phases]
    for one in (schedule, replace(schedule, phases=tuple(phases))):
        assert_alike(fast(problem, one, arithmetic), reference(problem, one))


@arithmetics
@pytest.mark.parametrize(("iterations", "reads_box_info"), [(1, False), (3, True)])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_without_hidden_layers(
    name: str, iterations: int, reads_box_info: bool, arithmetic: Arithmetic
) -> None:
    """All of the head is the matrix that reads its input."""
    problem = HeadProblem.of(
        features=300, hidden=0, iterations=iterations, reads_box_info=reads_box_info
    )
    assert {*problem.parameters} == {
        f"{layer}.{part}"
        for layer in ("decpose", "decshape", "deccam")
        for part in ("weight", "bias")
    }
    schedule = schedule_named(name)
    mine = fast(problem, schedule, arithmetic)
    assert mine.loss_history[mine.best_step] < 0.95 * mine.loss_history[0]
    assert_alike(mine, reference(problem, schedule))


def _with_epsilon(phase: Phase, epsilon: float) -> Adam | GradientDescent:
    assert isinstance(phase.optimiser, Adam | GradientDescent)
    if isinstance(phase.optimiser, Adam):
        return replace(phase.optimiser, epsilon=epsilon)
    return phase.optimiser


@arithmetics
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_single_precision(name: str, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(features=200, hidden=64, iterations=5, dtype=torch.float32)
    schedule = schedule_named(name)
    mine, expected = fast(problem, schedule, arithmetic), reference(problem, schedule)
    assert mine.loss_history == pytest.approx(expected.loss_history, rel=1e-4)
    torch.testing.assert_close(mine.parameters, expected.parameters, rtol=1e-4, atol=1e-4)
    assert {parameter.dtype for parameter in mine.parameters.values()} == {torch.float32}


@arithmetics
def test_against_pytorchs_adam_on_the_module(arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(features=100, iterations=6)
    schedule = schedule_named("paper")
    mine = fast(problem, schedule, arithmetic)
    optimiser = torch.optim.Adam(problem.head.parameters(), lr=1e-3)
    history = []
    for _ in range(schedule.max_steps):
        optimiser.zero_grad()
        output = torch.cat(problem.head(problem.features, problem.box_info), dim=1)
        loss = torch.stack(list(problem.losses(output, None).values())).sum()
        loss.backward()
        history.append(loss.item())
        optimiser.step()
    assert mine.loss_history[:-1] == pytest.approx(history, rel=1e-9)
    assert mine.best_step == schedule.max_steps
    torch.testing.assert_close(mine.parameters, problem.parameters, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("max_norm", [None, 1e-3, 1e9])
def test_phases_of_every_kind(max_norm: float | None) -> None:
    problem = HeadProblem.of(features=60)
    phases = (
        Phase(Adam(1e-3), 3, ("rotations",)),
        Phase(GradientDescent(1e-3, max_norm), 2),
        Phase(Adam(2e-3, beta1=0.5, beta2=0.9, epsilon=1e-3), 3),
        Phase(Adam(1e-3, epsilon=0.0), 2, ("keypoints_2d", "camera")),
    )
    schedule = Schedule("every_kind", phases, 0.0)
    for arithmetic in (TorchArithmetic(), CompiledArithmetic()):
        assert_alike(fast(problem, schedule, arithmetic), reference(problem, schedule))


@arithmetics
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("tolerance", [0.1, 1.0])
def test_stops_early_where_adapt_does(name: str, tolerance: float, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(iterations=2)
    schedule = schedule_named(name, tolerance=tolerance).limited_to(60)
    mine, expected = fast(problem, schedule, arithmetic), reference(problem, schedule)
    assert expected.stop_reason == CONVERGED
    assert 1 < expected.steps < 60
    assert_alike(mine, expected)


@arithmetics
@pytest.mark.parametrize("steps", [0, 3, 18])
def test_one_option_returns_the_other_iterate(steps: int, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(iterations=2)
    for name, iterate in (("release", "best"), ("paper", "last")):
        schedule = replace(schedule_named(name, tolerance=1e-3), iterate=iterate)
        far = Phase(GradientDescent(0.02), 3)
        schedule = replace(schedule, phases=(*schedule.phases, far)).limited_to(steps)
        mine, expected = fast(problem, schedule, arithmetic), reference(problem, schedule)
        best = min(range(mine.steps + 1), key=mine.loss_history.__getitem__)
        assert mine.best_step == {"best": best, "last": mine.steps}[iterate]
        assert_alike(mine, expected)


@arithmetics
def test_the_best_iterate_and_not_the_last(arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of()
    schedule = Schedule("far", (Phase(Adam(1e-3), 3), Phase(GradientDescent(0.02), 3)), 0.0)
    mine, expected = fast(problem, schedule, arithmetic), reference(problem, schedule)
    assert 0 < expected.best_step < expected.steps
    assert_alike(mine, expected)


@arithmetics
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_few_steps(name: str, steps: int, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of()
    schedule = schedule_named(name).limited_to(steps)
    mine = fast(problem, schedule, arithmetic)
    assert mine.stop_reason == OUT_OF_STEPS
    assert_alike(mine, reference(problem, schedule))


def test_losses_are_asked_for_as_by_adapt() -> None:
    problem = HeadProblem.of()
    asked: list[tuple[object, object]] = []

    def evaluate(
        estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        asked.append((losses, also))
        return problem.evaluate(estimate, losses=losses, also=also)

    schedule = schedule_named("release").limited_to(3)
    adapt_head(problem.affine, problem.head_input, evaluate, schedule)
    only = ("keypoints_2d",)
    assert asked == [(None, only), (only, only), (only, only), (only, ())]


@arithmetics
@pytest.mark.parametrize("wrong", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_becomes_non_finite_ends_it(wrong: str, value: float, arithmetic: Arithmetic) -> None:
    problem, schedule = HeadProblem.of(), schedule_named("paper")
    broken = _BreaksAfter(problem, 4, wrong, value)
    mine = adapt_head(problem.affine, problem.head_input, broken, schedule, arithmetic=arithmetic)
    expected = reference(problem, schedule.limited_to(3))
    assert mine.stop_reason == NON_FINITE
    assert mine.loss_history == pytest.approx(expected.loss_history, rel=1e-12)
    torch.testing.assert_close(mine.parameters, expected.parameters, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [0, 3])
def test_nothing_to_fall_back_on_is_an_error(steps: int) -> None:
    problem = HeadProblem.of()
    schedule = schedule_named("paper").limited_to(steps)
    with pytest.raises(ValueError, match="the loss or its gradient is nan before the first step"):
        adapt_head(
            problem.affine, problem.head_input, _BreaksAfter(problem, 0, "loss", math.nan), schedule
        )
    unseen = replace(problem, features=problem.features * math.nan)
    with pytest.raises(ValueError, match="the loss or its gradient is nan before the first step"):
        fast(unseen, schedule)


def test_a_gradient_that_is_non_finite_at_the_start_is_an_error() -> None:
    problem = HeadProblem.of()
    broken = _BreaksAfter(problem, 0, "gradient", math.inf)
    with pytest.raises(ValueError, match="gradient is nan before the first step"):
        adapt_head(problem.affine, problem.head_input, broken, schedule_named("trained"))


class _BreaksAfter:
    """As the problem evaluates, until `calls` later the loss or the gradient is `value`."""

    def __init__(self, problem: HeadProblem, calls: int, wrong: str, value: float) -> None:
        self.problem, self.calls, self.wrong, self.value = problem, calls, wrong, value

    def __call__(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        values, gradient = self.problem.evaluate(estimate, losses=losses, also=also)
        self.calls -= 1
        if self.calls >= 0:
            return values, gradient
        if self.wrong == "loss":
            return {name: value * self.value for name, value in values.items()}, gradient
        gradient = gradient.clone()
        gradient[:, 3] = self.value
        return values, gradient


def test_output_of_every_iterate() -> None:
    problem, schedule = HeadProblem.of(), schedule_named("paper").limited_to(3)
    mine = adapt_head(
        problem.affine,
        problem.head_input,
        problem.evaluate,
        schedule,
        output=lambda estimate: {"doubled": 2 * estimate},
    )
    for output, estimate in zip(mine.outputs, fast(problem, schedule).outputs, strict=True):
        assert isinstance(output, dict)
        assert torch.equal(output["doubled"], 2 * estimate)


def test_the_network_is_left_alone_and_the_next_person_changes_nothing() -> None:
    problem, other = HeadProblem.of(), HeadProblem.of(seed=5)
    before = {name: tensor.clone() for name, tensor in problem.parameters.items()}
    schedule = schedule_named("trained")
    mine = fast(problem, schedule)
    late = fast(problem, schedule)
    parameters = {name: tensor.clone() for name, tensor in mine.parameters.items()}
    fast(other, schedule)
    torch.testing.assert_close(mine.parameters, parameters, rtol=0, atol=0)
    torch.testing.assert_close(late.parameters, parameters, rtol=0, atol=0)
    assert late.parameters is late.parameters
    torch.testing.assert_close(problem.parameters, before, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in mine.parameters.values())


def test_without_a_step_the_parameters_are_the_networks() -> None:
    problem = HeadProblem.of()
    mine = fast(problem, schedule_named("paper").limited_to(0))
    torch.testing.assert_close(mine.parameters, problem.parameters, rtol=0, atol=0)


def test_what_does_not_fit() -> None:
    problem, schedule = HeadProblem.of(persons=2, features=20), schedule_named("paper")
    head, head_input = problem.affine, problem.head_input

    def run(head_input: Tensor) -> None:
        adapt_head(head, head_input, problem.evaluate, schedule)

    with pytest.raises(
        ValueError, match=r"head's input is \(2, 23\), expected one person: \(1, G\)"
    ):
        run(head_input)
    with pytest.raises(ValueError, match=r"head's input is \(1, 20\), expected \(N, 23\)"):
        run(head_input[:1, :20])
    with pytest.raises(ValueError, match=r"input is torch.float32 on cpu, but the head is torch.f"):
        run(head_input[:1].float())
    with pytest.raises(ValueError, match=r"a gradient \(157,\) for estimates \(1, 157\)"):
        adapt_head(
            head,
            head_input[:1],
            lambda estimate, **_: ({"loss": estimate.sum(1)}, estimate[0]),
            schedule,
        )


def test_an_optimiser_of_ones_own_is_an_error() -> None:
    class Mine(GradientDescent):
        pass

    class NotOurs:
        learning_rate = 1.0

        def start(self, parameters: object) -> None:
            del parameters

        update = start

    problem = HeadProblem.of()
    fast(problem, Schedule("mine", (Phase(Mine(1e-3), 1),), 0.0))
    with pytest.raises(TypeError, match="a step of the fast head is by Adam or GradientDescent"):
        fast(problem, Schedule("not_ours", (Phase(NotOurs(), 1),), 0.0))  # type: ignore[arg-type]
