from dataclasses import replace

import pytest

from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Phase, Schedule, named_schedule

ONLY_2D = ("keypoints_2d",)
PAPERS_ADAM = Adam(learning_rate=1e-5, beta1=0.9, beta2=0.999, epsilon=1e-8)


def test_paper_is_algorithm_1() -> None:
    schedule = named_schedule("paper")
    assert schedule.phases == (Phase(PAPERS_ADAM, 14, losses=None),)
    assert schedule.tolerance == 2e-5


def test_release_is_a_plain_step_then_adam_on_keypoints() -> None:
    schedule = named_schedule("release")
    assert schedule.phases == (
        Phase(GradientDescent(1e-5), 1, losses=None, head_only=True),
        Phase(PAPERS_ADAM, 14, losses=ONLY_2D, scale=1 / 5),
    )
    assert schedule.watched == schedule.phases[1]
    assert (schedule.stop_rule, schedule.iterate) == ("across_phases", "last")
    weights = [named_schedule("release", keypoints_weight=w).watched.scale for w in (2.0, 1.0, 0.0)]
    assert weights == [0.5, 1.0, 1.0]
    assert schedule.tolerance == 2e-5


def test_trained_is_the_inner_step_of_training_then_adam_on_the_same_losses() -> None:
    schedule = named_schedule("trained", descent_rate=1e-3, descent_max_norm=1.0)
    assert schedule.phases == (
        Phase(GradientDescent(1e-3, max_norm=1.0), 1, losses=None),
        Phase(PAPERS_ADAM, 13, losses=None),
    )
    assert schedule.watched.losses is None


def test_eft_knows_no_pseudo_mesh() -> None:
    schedule = named_schedule("eft")
    assert schedule.phases == (Phase(PAPERS_ADAM, 14, losses=ONLY_2D),)


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_named_schedules_carry_their_names_and_rates(name: str) -> None:
    schedule = named_schedule(name, adam_rate=3e-4, descent_rate=2e-3, tolerance=0.5)
    assert schedule.name == name
    assert schedule.tolerance == 0.5
    assert schedule.max_steps == (15 if name == "release" else 14)
    assert (schedule.stop_rule == "across_phases") == (name == "release")
    rates = {Adam: 3e-4, GradientDescent: 2e-3}
    for phase in schedule.phases:
        assert phase.optimiser.learning_rate == rates[type(phase.optimiser)]


@pytest.mark.parametrize("name", ["Paper", "", "paper "])
def test_unknown_names_are_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown schedule '{name}'; known are paper, trained"):
        named_schedule(name)


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("steps", [0, 1, 2, 14, 40])
def test_limited_to_gives_that_many_steps(name: str, steps: int) -> None:
    schedule = named_schedule(name)
    limited = schedule.limited_to(steps)
    assert limited.max_steps == steps
    assert limited.watched.losses == schedule.watched.losses
    assert replace(limited, phases=schedule.phases) == schedule


def test_limited_to_cuts_late_phases_and_draws_out_the_last() -> None:
    steps = [
        [phase.steps for phase in named_schedule("release").limited_to(n).phases] for n in (0, 1, 5)
    ]
    assert steps == [[0, 0], [1, 0], [1, 4]]
    assert named_schedule("release").limited_to(15) == named_schedule("release")


def test_limited_to_where_the_same_phase_comes_twice() -> None:
    first, second = Phase(Adam(0.1), 2), Phase(GradientDescent(0.1), 3)
    limited = Schedule("there_and_back", (first, second, first), 0.0).limited_to(9)
    assert [phase.steps for phase in limited.phases] == [2, 3, 4]


def test_schedules_that_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="max_steps is -1, expected 0 or more"):
        named_schedule("paper").limited_to(-1)
    with pytest.raises(ValueError, match="schedule 'empty' has no phases"):
        Schedule("empty", (), 0.0)
    phases = named_schedule("paper").phases
    with pytest.raises(ValueError, match="iterate is 'first', expected one of best, last"):
        Schedule("first", phases, 0.0, iterate="first")
    with pytest.raises(ValueError, match="stop_rule is 'never', expected one of within_phase"):
        Schedule("endless", phases, 0.0, stop_rule="never")
