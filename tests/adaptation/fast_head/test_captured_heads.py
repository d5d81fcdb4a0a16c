"""Captured steps against `adapt_heads`: eager, and as graphs on a pretend device."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from helpers.cpp_kernels import cpp_kernel
from helpers.head_problem import HeadProblem, normal
from torch import Tensor

from dualhmr.adaptation.fast_head import (
    CapturedHeads,
    HeadAdaptation,
    TorchArithmetic,
    adapt_heads,
)
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.fast_head.cuda_graph import MAX_WARM_UPS, EagerReplay, Work
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.adaptation.fast_head.head_step import Evaluate
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    NonFiniteError,
    Phase,
    Schedule,
    named_schedule,
)

KERNELS = CudaKernels(cpp_kernel)
REPLAY = EagerReplay(warm_ups=MAX_WARM_UPS)
WITHIN = {torch.float32: 1e-5, torch.float64: 1e-8}
"""Of losses, relatively: the nodes of captured heads are others, and right to 2e-7."""


def schedule_named(name: str, *, tolerance: float = 0.0) -> Schedule:
    return named_schedule(
        name, adam_rate=1e-3, descent_rate=1e-2, descent_max_norm=0.5, tolerance=tolerance
    )


@dataclass
class People:
    """Whom a `CapturedHeads` finds in its memory."""

    head_input: Tensor
    evaluate: Evaluate

    def prepare(self) -> tuple[Tensor, Evaluate]:
        return self.head_input, self.evaluate


class Captured:
    """`CapturedHeads`, captured for other persons than those of `problem`."""

    def __init__(
        self,
        problem: HeadProblem,
        schedule: Schedule,
        *,
        kernels: CudaKernels | None = None,
        replay: EagerReplay = REPLAY,
        block: int = 4,
    ) -> None:
        shape = problem.goal.shape
        other = replace(problem, goal=normal(*shape, seed=99).to(problem.goal))
        self.people = People(0.5 * problem.head_input, other.evaluate)
        self.heads = CapturedHeads(
            problem.affine,
            self.people.prepare,
            schedule,
            len(problem.goal),
            replay=replay,
            kernels=kernels,
            block=block,
        )

    def adapt(self, head_input: Tensor, evaluate: Evaluate) -> Sequence[AdaptationResult]:
        self.people.head_input, self.people.evaluate = head_input, evaluate
        outcomes = self.heads.adapt()
        for outcome in outcomes:
            if isinstance(outcome, NonFiniteError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, AdaptationResult)]


def expected_of(problem: HeadProblem, schedule: Schedule) -> tuple[HeadAdaptation, ...]:
    return adapt_heads(
        problem.affine,
        problem.head_input,
        problem.evaluate,
        schedule,
        arithmetic=TorchArithmetic(),
    )


def assert_alike(mine: Sequence[AdaptationResult], expected: Sequence[HeadAdaptation]) -> None:
    for one, other in zip(mine, expected, strict=True):
        assert (one.stop_reason, one.best_step) == (other.stop_reason, other.best_step)
        assert isinstance(one.outputs[0], Tensor)
        within = WITHIN[one.outputs[0].dtype]
        assert one.loss_history == pytest.approx(other.loss_history, rel=within)
        torch.testing.assert_close(one.outputs, other.outputs, rtol=10 * within, atol=10 * within)


NAMES = ("trained", "release")
"""Schedules that have all kinds of steps and both rules to stop."""


@pytest.mark.parametrize("kernels", [None, KERNELS])
@pytest.mark.parametrize(
    ("hidden", "dtype"), [(24, torch.float32), (24, torch.float64), (0, torch.float64)]
)
@pytest.mark.parametrize("name", NAMES)
def test_named_schedules(
    name: str, hidden: int, dtype: torch.dtype, kernels: CudaKernels | None
) -> None:
    problem = HeadProblem.of(persons=3, hidden=hidden, dtype=dtype)
    schedule = schedule_named(name)
    captured = Captured(problem, schedule, kernels=kernels)
    mine = captured.adapt(problem.head_input, problem.evaluate)
    assert {one.steps for one in mine} == {schedule.max_steps}
    assert_alike(mine, expected_of(problem, schedule))
    # The iterates are on the device too.
    estimates = captured.heads.estimates
    for person, one in enumerate(mine):
        assert torch.equal(torch.cat(one.outputs), estimates[:, person])  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [3, 100])
@pytest.mark.parametrize("name", NAMES)
def test_early_stops(name: str, block: int) -> None:
    problem = HeadProblem.of(persons=4, features=60)
    schedule = schedule_named(name, tolerance=0.4).limited_to(40)
    captured = Captured(problem, schedule, block=block)
    mine = captured.adapt(problem.head_input, problem.evaluate)
    assert_alike(mine, expected_of(problem, schedule))
    assert CONVERGED in {one.stop_reason for one in mine}


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("kernels", [None, KERNELS])
def test_phases_of_every_kind_and_length(steps: int, kernels: CudaKernels | None) -> None:
    problem = HeadProblem.of(persons=2)
    again = Adam(1e-3)
    phases = (
        Phase(again, steps, ("rotations",)),
        Phase(GradientDescent(1e-3, 1e-3), 2),
        Phase(again, 3),
        Phase(GradientDescent(0.02), 1),
        Phase(Adam(2e-3, beta1=0.5, beta2=0.9, epsilon=1e-3), 3),
        Phase(again, steps, ("keypoints_2d", "camera")),
        Phase(GradientDescent(0.02), 0, ("keypoints_2d",)),
    )
    schedule = Schedule("every_kind", phases, 0.0)
    captured = Captured(problem, schedule, kernels=kernels, block=3)
    for _ in range(2):
        mine = captured.adapt(problem.head_input, problem.evaluate)
        assert_alike(mine, expected_of(problem, schedule))


def test_one_group_after_the_other() -> None:
    problems = [HeadProblem.of(persons=2, seed=seed) for seed in (0, 10, 20)]
    problems = [replace(one, head=problems[0].head, mix=problems[0].mix) for one in problems]
    schedule = schedule_named("trained", tolerance=0.01)
    captured = Captured(problems[0], schedule)
    before = {name: tensor.clone() for name, tensor in problems[0].parameters.items()}
    for one in problems:
        mine = captured.adapt(one.head_input, one.evaluate)
        assert_alike(mine, expected_of(one, schedule))
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
    captured = Captured(problem, schedule, replay=replay, block=3)
    preparing = 1
    assert replay.captures == preparing + 3
    for _ in range(2):
        replay.replays = 0
        (mine,) = captured.adapt(problem.head_input, problem.evaluate)
        assert mine.stop_reason == CONVERGED
        assert replay.replays == preparing + -(-len(mine.loss_history) // 3) * 3
    assert replay.captures == preparing + 3


class _Breaks:
    """As the problem evaluates, until after some calls a person's gradient is NaN."""

    def __init__(self, problem: HeadProblem, person: int, calls: int) -> None:
        self.problem, self.person, self.left = problem, person, calls

    def __call__(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        values, gradient = self.problem.evaluate(estimate, losses=losses, also=also)
        if self.left <= 0:
            gradient[self.person] = math.nan
        self.left -= 1
        return values, gradient


@pytest.mark.parametrize("block", [1, 4])
def test_who_breaks_down_breaks_down_alone(block: int) -> None:
    problem, schedule = HeadProblem.of(persons=3), schedule_named("paper", tolerance=1e-9)
    captured = Captured(problem, schedule, block=block)
    whole = captured.adapt(problem.head_input, problem.evaluate)
    mine = captured.adapt(problem.head_input, _Breaks(problem, 1, 3))
    assert (mine[1].stop_reason, mine[1].steps) == (NON_FINITE, 2)
    captured.people.evaluate = _Breaks(problem, 2, 0)
    outcomes = captured.heads.adapt()
    assert isinstance(outcomes[2], NonFiniteError)
    assert "the loss or its gradient is nan before the first step" in str(outcomes[2])
    captured.people.evaluate = problem.evaluate
    captured.people.head_input = problem.head_input.clone()
    captured.people.head_input[2, 7] = math.inf
    with_infinity = captured.heads.adapt()
    assert isinstance(with_infinity[2], NonFiniteError)
    for found in (mine, outcomes, with_infinity):
        one = found[0]
        assert isinstance(one, AdaptationResult)
        assert one.loss_history == whole[0].loss_history
    with pytest.raises(ValueError, match="person 2: the loss or its gradient is nan before the"):
        adapt_heads(problem.affine, problem.head_input, _Breaks(problem, 2, 0), schedule)


def test_persons_do_not_depend_on_who_else_is_there() -> None:
    problem, schedule = HeadProblem.of(persons=4), schedule_named("trained")
    together = Captured(problem, schedule, kernels=KERNELS).adapt(
        problem.head_input, problem.evaluate
    )
    for person, one in enumerate(together):
        own = problem.person(person)
        (alone,) = Captured(own, schedule, kernels=KERNELS).adapt(own.head_input, own.evaluate)
        assert one.loss_history == pytest.approx(alone.loss_history, rel=1e-12)


def test_what_does_not_fit() -> None:
    problem, schedule = HeadProblem.of(persons=2), schedule_named("paper")
    people = People(problem.head_input, problem.evaluate)
    for persons, block in ((0, 4), (1, 0)):
        with pytest.raises(ValueError, match="expected at least one"):
            CapturedHeads(problem.affine, people.prepare, schedule, persons, block=block)


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
