"""Heads of many people at once: for each the same result as alone."""

import math
from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from helpers.head_problem import HeadProblem, arithmetics, schedule_named
from torch import Tensor

from dualhmr.adaptation.fast_head import Arithmetic, TorchArithmetic, adapt_head, adapt_heads
from dualhmr.adaptation.fast_head.head_step import Problem, evaluate_head, update_matrices
from dualhmr.adaptation.fast_head.rank_one_output import HeadInput
from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import (
    CONVERGED,
    NON_FINITE,
    SCHEDULE_NAMES,
)


@arithmetics
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_as_one_by_one(name: str, arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(persons=4, features=60)
    # The release's loss has weight 1, so it changes less.
    schedule = schedule_named(name, tolerance=0.2 if name == "release" else 0.4).limited_to(40)
    head = problem.affine
    together = adapt_heads(
        head, problem.head_input, problem.evaluate, schedule, arithmetic=arithmetic
    )
    for i, mine in enumerate(together):
        own = problem.person(i)
        alone = adapt_head(head, own.head_input, own.evaluate, schedule, arithmetic=arithmetic)
        assert mine.loss_history == pytest.approx(alone.loss_history, rel=1e-10)
        assert (mine.stop_reason, mine.best_step) == (alone.stop_reason, alone.best_step)
        torch.testing.assert_close(mine.outputs, alone.outputs, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(mine.parameters, alone.parameters, rtol=1e-9, atol=1e-9)
    assert len({mine.steps for mine in together}) > 1


@arithmetics
def test_who_breaks_down_breaks_down_alone(arithmetic: Arithmetic) -> None:
    problem = HeadProblem.of(persons=3)
    schedule = schedule_named("paper", tolerance=1e-9)
    calls = 0

    def evaluate(
        estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        nonlocal calls
        calls += 1
        values, gradient = problem.evaluate(estimate, losses=losses, also=also)
        if calls > 3:
            gradient[1] = math.nan
        return values, gradient

    args = (schedule,)
    first, second, third = adapt_heads(
        problem.affine, problem.head_input, evaluate, *args, arithmetic=arithmetic
    )
    assert (second.stop_reason, second.steps) == (NON_FINITE, 2)
    assert all(torch.isfinite(parameter).all() for parameter in second.parameters.values())
    for i, mine in ((0, first), (2, third)):
        own = problem.person(i)
        alone = adapt_head(
            problem.affine, own.head_input, own.evaluate, *args, arithmetic=arithmetic
        )
        assert mine.loss_history == pytest.approx(alone.loss_history, rel=1e-10)


def test_who_has_nothing_to_fall_back_on_is_named() -> None:
    problem = HeadProblem.of(persons=3)
    features = problem.features.clone()
    features[2] = math.inf
    broken = replace(problem, features=features)
    with pytest.raises(ValueError, match="person 2: the loss or its gradient is nan before the"):
        adapt_heads(problem.affine, broken.head_input, problem.evaluate, schedule_named("paper"))


def test_a_step_in_pytorch_does_not_wait_for_the_device() -> None:
    """Without data, nothing can be read back."""
    problem = HeadProblem.of(persons=2)
    affine = replace(
        problem.affine,
        matrices={name: matrix.to("meta") for name, matrix in problem.affine.matrices.items()},
        start=problem.affine.start.to("meta"),
    )

    def evaluate(estimate: Tensor, **_: object) -> tuple[dict[str, Tensor], Tensor]:
        return {"loss": estimate.sum(1)}, estimate

    head_input = HeadInput(problem.head_input.to("meta"))
    schedule = schedule_named("trained")
    step = Problem(affine, head_input, evaluate, schedule, TorchArithmetic())
    matrices = step.start()
    for optimiser in (Adam(1e-3), GradientDescent(1e-3, max_norm=1.0)):
        for updates in range(2):
            evaluation = evaluate_head(step, matrices, schedule.watched)
            matrices = update_matrices(matrices, evaluation.gradients, optimiser, updates)
    assert evaluation.watched_loss.shape == (2,)
    assert {matrix.value.device.type for matrix in matrices.values()} == {"meta"}


def test_nobody() -> None:
    problem = HeadProblem.of(persons=0)
    schedule = schedule_named("paper")
    assert adapt_heads(problem.affine, problem.head_input, problem.evaluate, schedule) == ()


def test_all_may_stop_before_the_schedule_ends() -> None:
    problem = HeadProblem.of(persons=2)
    schedule = schedule_named("eft", tolerance=10.0).limited_to(50)
    results: tuple[AdaptationResult, ...] = adapt_heads(
        problem.affine, problem.head_input, problem.evaluate, schedule
    )
    assert {result.stop_reason for result in results} == {CONVERGED}
    assert max(result.steps for result in results) < 50
