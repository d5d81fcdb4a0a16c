"""Captured steps against `adapt_heads`, with an eager stand-in for CUDA graphs."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.cpp_kernels import cpp_arithmetic
from helpers.gradient_cases import make_evidence, make_objective, moved
from helpers.head_problem import HeadProblem, normal
from torch import Tensor

from dualhmr.adaptation.fast_head import (
    Arithmetic,
    CapturedHeads,
    HeadAdaptation,
    TorchArithmetic,
    adapt_heads,
)
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.fast_head.cuda_graph import MAX_WARM_UPS, EagerReplay, Work
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    SCHEDULE_NAMES,
    Phase,
    Schedule,
    named_schedule,
)
from dualhmr.objective.gradient import ObjectiveGradient

ARITHMETICS = {
    "torch": TorchArithmetic,
    "compiled": CompiledArithmetic,
    "cuda": cpp_arithmetic,
}
arithmetics = pytest.mark.parametrize("arithmetic", ARITHMETICS)
REPLAY = EagerReplay(warm_ups=MAX_WARM_UPS)


def schedule_named(name: str, *, tolerance: float = 0.0) -> Schedule:
    return named_schedule(
        name, adam_rate=1e-3, descent_rate=1e-2, descent_max_norm=0.5, tolerance=tolerance
    )


def captured_of(
    problem: HeadProblem,
    schedule: Schedule,
    *,
    arithmetic: Arithmetic | None = None,
    block: int = 4,
) -> CapturedHeads:
    """Captured for other persons than those of `problem`."""
    persons, shape = len(problem.goal), problem.goal.shape
    other = replace(problem, goal=normal(*shape, seed=99).to(problem.goal))
    return CapturedHeads(
        problem.affine,
        other.evaluate,
        schedule,
        persons,
        shared=[problem.head],
        replay=REPLAY,
        arithmetic=arithmetic,
        block=block,
    )


def assert_same(mine: Sequence[HeadAdaptation], expected: Sequence[HeadAdaptation]) -> None:
    """To the last bit; parameters, which are made from vectors that lie elsewhere, nearly so."""
    for one, other in zip(mine, expected, strict=True):
        assert (one.stop_reason, one.best_step) == (other.stop_reason, other.best_step)
        assert one.loss_history == other.loss_history
        torch.testing.assert_close(one.outputs, other.outputs, rtol=0, atol=0)
        within = 8 * torch.finfo(one.parameters["deccam.bias"].dtype).eps
        torch.testing.assert_close(one.parameters, other.parameters, rtol=within, atol=within)


@arithmetics
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("persons", [1, 3])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_named_schedules(name: str, persons: int, dtype: torch.dtype, arithmetic: str) -> None:
    problem = HeadProblem.of(persons=persons, dtype=dtype)
    made, schedule = ARITHMETICS[arithmetic](), schedule_named(name)
    captured = captured_of(problem, schedule, arithmetic=made)
    mine = captured.adapt(problem.head_input, problem.evaluate)
    head = problem.affine
    expected = adapt_heads(head, problem.head_input, problem.evaluate, schedule, arithmetic=made)
    assert {one.steps for one in mine} == {schedule.max_steps}
    assert_same(mine, expected)


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_without_hidden_layers(name: str, iterations: int) -> None:
    problem = HeadProblem.of(persons=2, features=60, hidden=0, iterations=iterations)
    schedule = schedule_named(name)
    mine = captured_of(problem, schedule).adapt(problem.head_input, problem.evaluate)
    assert_same(mine, adapt_heads(problem.affine, problem.head_input, problem.evaluate, schedule))


@pytest.mark.parametrize("block", [1, 3, 4, 100])
@pytest.mark.parametrize("persons", [1, 4])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_early_stops(name: str, persons: int, block: int) -> None:
    problem = HeadProblem.of(persons=persons, features=60)
    schedule = schedule_named(name, tolerance=0.4).limited_to(40)
    captured = captured_of(problem, schedule, block=block)
    mine = captured.adapt(problem.head_input, problem.evaluate)
    assert_same(mine, adapt_heads(problem.affine, problem.head_input, problem.evaluate, schedule))
    assert CONVERGED in {one.stop_reason for one in mine}


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("block", [1, 3, 4])
def test_phases_of_every_kind_and_length(steps: int, block: int) -> None:
    problem = HeadProblem.of(persons=2)
    again = Adam(1e-3)
    phases = (
        Phase(again, steps, ("rotations",)),
        Phase(GradientDescent(1e-3, 1e-3), 2),
        Phase(again, 3),
        Phase(GradientDescent(0.02), 0),
        Phase(Adam(2e-3, beta1=0.5, beta2=0.9, epsilon=1e-3), 3),
        Phase(again, steps, ("keypoints_2d", "camera")),
        Phase(GradientDescent(0.02), 0, ("keypoints_2d",)),
    )
    for tolerance in (0.0, 0.05, 10.0):
        schedule = Schedule("every_kind", phases, tolerance)
        captured = captured_of(problem, schedule, block=block)
        mine = captured.adapt(problem.head_input, problem.evaluate)
        assert_same(
            mine, adapt_heads(problem.affine, problem.head_input, problem.evaluate, schedule)
        )


def test_one_group_after_the_other_and_parameters_when_all_are_done() -> None:
    problems = [HeadProblem.of(persons=2, seed=seed) for seed in (0, 10, 20)]
    problems = [replace(one, head=problems[0].head, mix=problems[0].mix) for one in problems]
    schedule = schedule_named("trained", tolerance=0.01)
    captured = captured_of(problems[0], schedule)
    mine = [captured.adapt(one.head_input, one.evaluate) for one in problems]
    before = {name: tensor.clone() for name, tensor in problems[0].parameters.items()}
    for one, found in zip(problems, mine, strict=True):
        assert_same(found, adapt_heads(one.affine, one.head_input, one.evaluate, schedule))
    torch.testing.assert_close(problems[0].parameters, before, rtol=0, atol=0)


class _CountsCaptures(EagerReplay):
    captures = replays = 0

    def capture(self, work: Work) -> Work:
        self.captures += 1
        super().capture(work)

        def again() -> None:
            self.replays += 1
            work()

        return again


def test_one_capture_for_every_kind_of_step_and_few_steps_in_vain() -> None:
    problem, replay = HeadProblem.of(), _CountsCaptures()
    schedule = schedule_named("release", tolerance=0.4).limited_to(40)
    captured = CapturedHeads(problem.affine, problem.evaluate, schedule, 1, replay=replay, block=3)
    assert replay.captures == 3
    for _ in range(2):
        replay.replays = 0
        (mine,) = captured.adapt(problem.head_input, problem.evaluate)
        assert mine.stop_reason == CONVERGED
        assert replay.replays == -(-len(mine.loss_history) // 3) * 3
    assert replay.captures == 3


class _Breaks:
    """As the problem evaluates, until after some calls a person's gradient is NaN."""

    def __init__(self, problem: HeadProblem, person: int, calls: int) -> None:
        # In tensors, so that a capture serves any.
        self.problem, self.person = problem, torch.tensor(person)
        self.left = torch.tensor(calls)

    def __call__(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        values, gradient = self.problem.evaluate(estimate, losses=losses, also=also)
        wrong = (torch.arange(len(estimate)) == self.person) & (self.left <= 0)
        self.left -= 1
        return values, torch.where(wrong[:, None], math.nan, gradient)


@pytest.mark.parametrize("block", [1, 4])
def test_who_breaks_down_breaks_down_alone(block: int) -> None:
    problem, schedule = HeadProblem.of(persons=3), schedule_named("paper", tolerance=1e-9)
    head, head_input = problem.affine, problem.head_input
    captured = CapturedHeads(head, _Breaks(problem, 0, 1), schedule, 3, replay=REPLAY, block=block)
    mine = captured.adapt(head_input, _Breaks(problem, 1, 3))
    assert_same(mine, adapt_heads(head, head_input, _Breaks(problem, 1, 3), schedule))
    assert (mine[1].stop_reason, mine[1].steps) == (NON_FINITE, 2)
    with pytest.raises(ValueError, match="person 2: the loss or its gradient is nan before the"):
        captured.adapt(head_input, _Breaks(problem, 2, 0))
    again = captured.adapt(head_input, _Breaks(problem, 1, 3))
    assert_same(again, mine)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_who_has_nothing_to_fall_back_on_is_named(value: float) -> None:
    problem = HeadProblem.of(persons=3)
    head_input = problem.head_input.clone()
    head_input[2, 7] = value
    captured = captured_of(problem, schedule_named("paper"))
    with pytest.raises(ValueError, match="person 2: the loss or its gradient is nan before the"):
        captured.adapt(head_input, problem.evaluate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_people_with_bodies(name: str, dtype: torch.dtype) -> None:
    """Evidence is copied into the captured objective; whose it was first keeps their own."""
    objective = make_objective(dtype=dtype)
    problem = HeadProblem.of(persons=2, dtype=dtype)
    first = make_evidence(objective, 2) if dtype == torch.float64 else None
    evidence = moved(make_evidence(make_objective(), 2), lambda x: _cast(x, dtype))
    other = moved(evidence, lambda x: 0.9 * x if x.is_floating_point() else x)
    assert first is None or torch.equal(first.keypoints, evidence.keypoints)
    kept = moved(evidence, Tensor.clone)
    schedule = schedule_named(name)
    captured = CapturedHeads(
        problem.affine,
        ObjectiveGradient(objective, evidence),
        schedule,
        2,
        shared=[objective],
        replay=REPLAY,
    )
    for known in (other, evidence):
        evaluate = ObjectiveGradient(objective, known)
        mine = captured.adapt(problem.head_input, ObjectiveGradient(objective, known))
        assert_same(mine, adapt_heads(problem.affine, problem.head_input, evaluate, schedule))
    torch.testing.assert_close(evidence, kept, rtol=0, atol=0, equal_nan=True)
    without = ObjectiveGradient(objective, evidence._replace(target=None))
    with pytest.raises(ValueError, match=r"what was captured, which has or lacks .*target"):
        captured.adapt(problem.head_input, without)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def test_output_of_every_iterate() -> None:
    problem, schedule = HeadProblem.of(persons=2), schedule_named("paper").limited_to(5)
    (mine, _) = captured_of(problem, schedule).adapt(
        problem.head_input, problem.evaluate, output=lambda estimate: {"doubled": 2 * estimate}
    )
    (plain, _) = adapt_heads(problem.affine, problem.head_input, problem.evaluate, schedule)
    for found, estimate in zip(mine.outputs, plain.outputs, strict=True):
        assert isinstance(found, dict)
        assert torch.equal(found["doubled"], 2 * estimate)


def test_what_does_not_fit() -> None:
    problem, schedule = HeadProblem.of(persons=2), schedule_named("paper")
    head, evaluate = problem.affine, problem.evaluate
    captured = captured_of(problem, schedule)
    with pytest.raises(ValueError, match="input is of 1 persons, captured for 2"):
        captured.adapt(problem.head_input[:1], evaluate)
    with pytest.raises(ValueError, match=r"input is \(2, 5\), expected \(N, 23\)"):
        captured.adapt(problem.head_input[:, :5], evaluate)
    with pytest.raises(
        ValueError, match=r"features is a tensor \(3, 20\) .* expected a tensor \(2"
    ):
        captured.adapt(problem.head_input, HeadProblem.of(persons=3).evaluate)
    for persons, block in ((0, 4), (1, 0)):
        with pytest.raises(ValueError, match="expected at least one"):
            CapturedHeads(head, evaluate, schedule, persons, block=block)
    with pytest.raises(TypeError, match=r"cannot see which tensors .* holds; use an object"):
        CapturedHeads(head, lambda *args, **names: evaluate(*args, **names), schedule, 2)


class _NoReadingBack(torch.utils._python_dispatch.TorchDispatchMode):
    """What waits for a device, or makes tensors from the host's numbers, cannot be captured."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "lift_fresh",
        "nonzero",
        "_to_copy",
        "linalg_eigh",
        "linalg_qr",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in self.FORBIDDEN, func
        return func(*args, **(kwargs or {}))


class _Watched(EagerReplay):
    def capture(self, work: Work) -> Work:
        with _NoReadingBack():
            work()
        return work


@pytest.mark.parametrize("arithmetic", ["torch", "cuda"])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_what_is_captured_never_waits_for_the_device(name: str, arithmetic: str) -> None:
    objective, problem = make_objective(), HeadProblem.of(persons=2)
    evaluate = ObjectiveGradient(objective, make_evidence(objective, 2))
    CapturedHeads(
        problem.affine,
        evaluate,
        schedule_named(name),
        2,
        shared=[objective],
        replay=_Watched(),
        arithmetic=ARITHMETICS[arithmetic](),
    )


@pytest.mark.parametrize("iterations", [1, 2, 10])
def test_the_collapsed_head_against_compiled_loops(iterations: int) -> None:
    problem = HeadProblem.of(persons=3, iterations=iterations)
    for schedule in (schedule_named("trained"), schedule_named("eft")):
        args = (problem.affine, problem.head_input, problem.evaluate, schedule)
        mine = adapt_heads(*args, arithmetic=TorchArithmetic())
        expected = adapt_heads(*args, arithmetic=CompiledArithmetic())
        for one, other in zip(mine, expected, strict=True):
            assert one.loss_history == pytest.approx(other.loss_history, rel=1e-9)
            torch.testing.assert_close(one.parameters, other.parameters, rtol=1e-9, atol=1e-9)
