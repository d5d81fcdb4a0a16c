"""The compiled head against `adapt`, its reference."""

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from helpers.head_problem import HeadProblem, schedule_named
from numpy.typing import NDArray

from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.compiled_head import CompiledHead
from dualhmr.adaptation.input_quadrature import grid_quadrature
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    SCHEDULE_NAMES,
    NonFiniteError,
    Phase,
    Schedule,
)
from dualhmr.compiling import WorkerThreads

NAMES = ("keypoints_2d", "rotations", "camera")
Array = NDArray[np.floating]


@dataclass
class Losses:
    """Those of a problem, in NumPy; after some calls the loss or its gradient is `broken`."""

    problem: HeadProblem
    calls: int = 10**9
    broken: str = ""
    value: float = math.nan

    def wanted(self, names: Collection[str] | None) -> Array:
        return np.array([1.0 * (names is None or name in names) for name in NAMES])

    def __call__(self, estimate: Array, minimised: Array, wanted: Array) -> tuple[Array, Array]:
        del wanted
        names = [name for name, one in zip(NAMES, minimised, strict=True) if one]
        values, gradient = self.problem.evaluate(
            torch.from_numpy(estimate)[None], losses=names, also=None
        )
        self.calls -= 1
        losses = np.array([float(values[name]) for name in NAMES])
        slope = gradient[0].numpy()
        if self.calls < 0:
            (losses if self.broken == "loss" else slope)[1] = self.value
        return losses, slope


def head_of(problem: HeadProblem) -> CompiledHead:
    own = {name: parameter.numpy() for name, parameter in problem.parameters.items()}
    start = problem.affine.start.numpy()
    return CompiledHead.from_parameters(own, start=start, iterations=problem.head.iterations)


def run(
    problem: HeadProblem,
    schedule: Schedule,
    losses: Losses | None = None,
    head: CompiledHead | None = None,
) -> AdaptationResult:
    head_input = problem.head_input[0].detach().numpy()
    return (head or head_of(problem)).adapt(head_input, losses or Losses(problem), schedule)


def check(
    problem: HeadProblem,
    schedule: Schedule,
    *,
    within: float = 1e-6,
    head: CompiledHead | None = None,
) -> AdaptationResult:
    mine = run(problem, schedule, head=head)
    expected = adapt(problem.parameters, problem.loss_function, schedule)
    assert mine.stop_reason == expected.stop_reason
    assert mine.best_step == expected.best_step
    assert mine.loss_history == pytest.approx(expected.loss_history, rel=within)
    outputs = [torch.cat(output, dim=1)[0] for output in expected.outputs]  # type: ignore[call-overload]
    np.testing.assert_allclose(np.stack(mine.outputs), torch.stack(outputs), atol=within)
    return mine


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_named_schedules(name: str, hidden: int) -> None:
    for iterations in (1, 2, 3, 10) if hidden else (1, 3):
        problem = HeadProblem.of(iterations=iterations, hidden=hidden, features=300)
        mine = check(problem, schedule_named(name))
        assert mine.steps == (15 if name == "release" else 14)
        assert mine.loss_history[mine.best_step] < 0.95 * mine.loss_history[0]


@pytest.mark.parametrize("iterations", [1, 2, 5, 8])
@pytest.mark.parametrize("slope", ["own", "none", "wrong"])
def test_iterations_at_once_whatever_the_slope(slope: str, iterations: int) -> None:
    problem = HeadProblem.of(iterations=iterations, features=60)
    with torch.no_grad():  # an iteration's change depends much on the estimate, as in trained heads
        problem.head.decpose.weight *= 6
    head = head_of(problem)
    fc1, fc2, decode, _, _ = head.matrices
    own = decode @ fc2 @ fc1.T
    assert 0.1 < np.linalg.norm(own, 2) < 2
    slopes = {"own": own, "none": 0 * own, "wrong": own[::-1].copy()}
    at_once = replace(head, slope=(slopes[slope], slopes[slope].T.copy()))
    for name in ("paper", "trained"):
        check(problem, schedule_named(name), head=at_once)
    values = replace(problem, features=problem.features * math.nan)
    with pytest.raises(NonFiniteError, match="is nan before the first step"):
        run(values, schedule_named("paper"), head=at_once)


def test_a_large_head_does_not_depend_on_the_number_of_threads() -> None:
    problem = HeadProblem.of(iterations=6, hidden=515, features=60, dtype=torch.float32)
    head = head_of(problem)
    assert head.slope is not None
    head_input, schedule = problem.head_input[0].detach().numpy(), schedule_named("paper")
    results = [
        head.adapt(head_input, Losses(problem), schedule, workers=workers)
        for workers in (None, WorkerThreads(2), WorkerThreads(5))
    ]
    exact = HeadProblem.of(iterations=6, hidden=515, features=60)
    expected = run(exact, schedule, head=replace(head_of(exact), slope=None))
    assert results[0].loss_history == pytest.approx(expected.loss_history, rel=1e-4)
    for other in results[1:]:
        assert other.loss_history == results[0].loss_history
        np.testing.assert_array_equal(np.stack(other.outputs), np.stack(results[0].outputs))


@pytest.mark.parametrize("max_norm", [None, 1e-3, 1e9])
def test_phases_of_every_kind(max_norm: float | None) -> None:
    phases = (
        Phase(Adam(1e-3), 3, ("rotations",), scale=0.3),
        Phase(GradientDescent(1e-3, max_norm), 2),
        Phase(Adam(2e-3, beta1=0.5, beta2=0.9, epsilon=1e-3), 3),
        Phase(Adam(1e-3, epsilon=0.0), 2, ("keypoints_2d", "camera")),
    )
    check(HeadProblem.of(features=60), Schedule("every_kind", phases, 0.0))


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_it_stops_where_adapt_does_and_returns_its_iterate(name: str) -> None:
    problem = HeadProblem.of(iterations=2)
    for tolerance in (0.1, 1.0):
        schedule = schedule_named(name, tolerance=tolerance).limited_to(60)
        assert check(problem, schedule).stop_reason == CONVERGED
    far = replace(
        schedule_named(name), phases=(Phase(Adam(1e-3), 3), Phase(GradientDescent(0.02), 3))
    )
    for steps in (0, 1, 3, 6):
        for iterate in ("best", "last"):
            check(problem, replace(far, iterate=iterate).limited_to(steps))


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("broken", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_becomes_non_finite_ends_it(broken: str, value: float, hidden: int) -> None:
    problem, schedule = HeadProblem.of(hidden=hidden), schedule_named("paper")
    mine = run(problem, schedule, Losses(problem, 4, broken, value))
    assert mine.stop_reason == NON_FINITE
    assert mine.loss_history == run(problem, schedule.limited_to(3)).loss_history
    with pytest.raises(NonFiniteError, match="before the first step"):
        run(problem, schedule, Losses(problem, 0, broken, value))
    unseen = replace(problem, features=problem.features * math.nan)
    with pytest.raises(NonFiniteError, match="is nan before the first step"):
        run(unseen, schedule)


def test_persons_at_the_same_time_get_what_each_gets_alone() -> None:
    problems = [HeadProblem.of(seed=0).person(0), HeadProblem.of(persons=9, seed=1).person(4)] * 6
    schedule, head = schedule_named("trained"), head_of(problems[0])
    inputs = [problem.head_input[0].detach().numpy() for problem in problems]
    alone = [
        head.adapt(one, Losses(problem), schedule).loss_history
        for one, problem in zip(inputs, problems, strict=True)
    ]
    found: dict[int, tuple[float, ...]] = {}

    def adapt_one(number: int) -> None:
        losses = Losses(problems[number])
        found[number] = head.adapt(inputs[number], losses, schedule).loss_history

    threads = [threading.Thread(target=adapt_one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(12)] == alone
    assert alone[0] != alone[1]


def test_nodes_on_a_grid_stand_for_the_inputs() -> None:
    rng = np.random.default_rng(0)
    for inputs in (rng.normal(size=700), 10 ** rng.uniform(-12, 3, 900), np.ones(1)):
        points, masses = grid_quadrature(inputs * rng.choice([-1, 1], inputs.size))
        for scale in 10.0 ** np.arange(-14, 4):
            exact = (inputs**2 / (abs(inputs) * scale + 1e-8)).sum()
            assert (masses / (points * scale + 1e-8)).sum() == pytest.approx(exact, rel=1e-8)


def test_what_does_not_fit() -> None:
    problem = HeadProblem.of()
    with pytest.raises(ValueError, match=r"head's input is \(20,\), expected \(23,\)"):
        head_of(problem).adapt(np.zeros(20), Losses(problem), schedule_named("paper"))
    own = replace(schedule_named("paper"), phases=(Phase(object(), 3),))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by Adam or GradientDescent, got <object"):
        run(problem, own)
