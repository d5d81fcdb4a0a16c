"""Many people side by side against `adapt`, one after the other: exactly, in float64."""

import math
from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation import (
    CONVERGED,
    NON_FINITE,
    OUT_OF_STEPS,
    Adam,
    Course,
    GradientDescent,
    Optimiser,
    Parameters,
    Phase,
    Schedule,
    adapt,
    adapt_together,
    named_schedule,
)

START: Parameters = {
    "w": torch.tensor([0.2, -0.1, 0.4], dtype=torch.float64),
    "b": torch.tensor(0.3, dtype=torch.float64),
}


def bowl(
    parameters: Parameters, person: dict[str, Any], names: Collection[str] | None
) -> tuple[dict[str, Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """As steep as the person's `steepness`, deepest at their `goal`; NaN beyond their `edge`."""
    away = parameters["w"] - person["goal"]
    losses = {
        "keypoints_2d": person["steepness"] * away.square().sum(),
        "rotations": (parameters["b"] - person["goal"][0]).square(),
    }
    if person["edge"] is not None:
        losses["rotations"] = losses["rotations"] + (person["edge"] - parameters["b"]).log()
    wanted = {name: loss for name, loss in losses.items() if names is None or name in names}
    return wanted, (away, {"b": 2 * parameters["b"]})


def people(*steepness: float, edge: Tensor | None = None) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(4)
    goals = torch.randn(len(steepness), 3, generator=generator, dtype=torch.float64)
    return {"steepness": torch.tensor(steepness, dtype=torch.float64), "goal": goals, "edge": edge}


def one_by_one(known: dict[str, Any], schedule: Schedule) -> list[Course]:
    courses: list[Course] = []
    for i in range(len(known["goal"])):
        own = {name: None if part is None else part[i] for name, part in known.items()}
        courses.append(adapt(START, lambda p, names, own=own: bowl(p, own, names), schedule))
    return courses


def assert_alike(courses: tuple[Course, ...], expected: list[Course]) -> None:
    assert len(courses) == len(expected)
    for course, alone in zip(courses, expected, strict=True):
        assert course.stop_reason == alone.stop_reason
        assert course.best_step == alone.best_step
        assert course.steps == alone.steps
        assert course.loss_history == pytest.approx(alone.loss_history, rel=1e-12)
        torch.testing.assert_close(course.outputs, alone.outputs, rtol=1e-12, atol=1e-12)


def descend(rate: float, steps: int, *, tolerance: float) -> Schedule:
    return Schedule("test", (Phase(GradientDescent(rate), steps),), tolerance)


def test_people_stop_when_and_why_they_would_alone() -> None:
    # With steepness 10 it goes to and fro for ever, with 1e40 soon beyond all numbers.
    known = people(0.5, 4.0, 1e40, 2.0, 10.0, 1.0, 3.0)
    schedule = descend(0.1, 12, tolerance=1e-2)
    courses = adapt_together(START, bowl, known, schedule, chunk=3)
    assert_alike(courses, one_by_one(known, schedule))
    reasons = {course.stop_reason for course in courses}
    assert reasons == {CONVERGED, NON_FINITE, OUT_OF_STEPS}
    assert len({course.steps for course in courses}) >= 4
    diverged = courses[2]
    assert diverged.stop_reason == NON_FINITE
    assert diverged.best_step == 0
    assert all(math.isfinite(loss) for loss in diverged.loss_history)


@pytest.mark.parametrize("name", ["paper", "trained", "release", "eft"])
def test_named_schedules(name: str) -> None:
    known = people(0.5, 4.0, 2.0, 1.0)
    schedule = named_schedule(name, adam_rate=0.2, descent_rate=0.02, tolerance=0.02)
    courses = adapt_together(START, bowl, known, schedule)
    assert_alike(courses, one_by_one(known, schedule))
    assert len({course.steps for course in courses}) > 1
    assert {course.stop_reason for course in courses} >= {CONVERGED}


@pytest.mark.parametrize("optimiser", [Adam(0.5), GradientDescent(0.1, max_norm=0.5)])
def test_a_loss_that_leaves_its_domain_and_phases_of_several_kinds(optimiser: Optimiser) -> None:
    known = people(1.0, 1.0, 1.0, edge=torch.tensor([0.35, 2.0, 0.9]).double())
    phases = (Phase(GradientDescent(0.05), 2, ("keypoints_2d",)), Phase(optimiser, 6))
    schedule = Schedule("test", phases, 1e-9)
    courses = adapt_together(START, bowl, known, schedule, chunk=2)
    assert_alike(courses, one_by_one(known, schedule))


def test_nobody_depends_on_who_else_is_there() -> None:
    schedule = descend(0.1, 9, tolerance=1e-3)
    known = people(0.5, 4.0, 1e40, 2.0, 10.0)
    together = adapt_together(START, bowl, known, schedule)
    for chunk in (1, 2, 5):
        assert_alike(adapt_together(START, bowl, known, schedule, chunk=chunk), list(together))
    some = {name: None if part is None else part[3:] for name, part in known.items()}
    assert_alike(adapt_together(START, bowl, some, schedule), list(together[3:]))


def test_a_gradient_that_is_not_finite_ends_it() -> None:
    # A root of a square has no gradient at zero, where the second person is after one step.
    def cone(parameters: Parameters, person: Tensor, _: object) -> tuple[dict[str, Tensor], Tensor]:
        away = parameters["w"] - person
        return {"loss": away.square().sqrt().sum()}, away

    start = {"w": torch.tensor([2.0], dtype=torch.float64)}
    tips = torch.tensor([[-9.0], [1.0]], dtype=torch.float64)
    far, near = adapt_together(start, cone, tips, descend(1.0, 3, tolerance=0.0))
    assert (far.stop_reason, far.loss_history) == (OUT_OF_STEPS, (11.0, 10.0, 9.0, 8.0))
    assert (near.stop_reason, near.loss_history) == (NON_FINITE, (1.0,))


def test_no_steps_is_the_start() -> None:
    known = people(1.0, 2.0)
    schedule = named_schedule("release").limited_to(0)
    courses = adapt_together(START, bowl, known, schedule)
    assert_alike(courses, one_by_one(known, schedule))
    assert [course.steps for course in courses] == [0, 0]


@pytest.mark.parametrize("steps", [0, 3])
def test_who_has_nothing_to_fall_back_on_is_named(steps: int) -> None:
    known = people(1.0, 2.0, 3.0, math.nan, 1.0)
    with pytest.raises(ValueError, match="person 3: the loss or its gradient is nan before the"):
        adapt_together(START, bowl, known, descend(0.1, steps, tolerance=0.0), chunk=2)


def test_nobody() -> None:
    assert adapt_together(START, bowl, people(), descend(0.1, 3, tolerance=0.0)) == ()


def test_no_graphs_are_kept_and_nothing_is_changed() -> None:
    start = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in START.items()}
    (course,) = adapt_together(dict(start), bowl, people(1.0), descend(0.1, 2, tolerance=0.0))
    away, other = course.outputs[-1]  # type: ignore[misc]
    assert not away.requires_grad
    assert not other["b"].requires_grad
    assert all(torch.equal(start[name], START[name]) for name in START)
    assert all(parameter.grad is None for parameter in start.values())
