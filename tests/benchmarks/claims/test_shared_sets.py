"""One set of weights for several people, as in the authors' release."""

from dataclasses import replace

import pytest
import torch
from helpers.shared_weights_examples import ADAM, adapted, flat, subjects

from dualhmr_benchmarks.claims.experiments.shared_weights import HEAD
from dualhmr_training.batches import some_of


def test_people_of_a_set_go_together() -> None:
    alone = adapted(subjects(), ADAM, moves=HEAD)
    first, second, third = adapted(subjects(), ADAM, moves=HEAD, at_once=2)
    assert first.loss_history == second.loss_history != third.loss_history
    assert (first.best_step, first.stop_reason) == (second.best_step, second.stop_reason)
    mean = (alone[0].loss_history[0] + alone[1].loss_history[0]) / 2
    assert first.loss_history[0] == pytest.approx(mean, rel=1e-5)
    # Their bodies are their own all the same.
    assert (flat(first.outputs[-1]) - flat(second.outputs[-1])).abs().max() > 0.01
    # One is left over, and is alone.
    assert third.loss_history == pytest.approx(alone[2].loss_history, rel=1e-5)


def test_who_else_is_there_matters() -> None:
    pairs = [some_of(subjects(), torch.tensor([0, other])) for other in (1, 2)]
    one, other = (adapted(pair, ADAM, moves=HEAD, at_once=2)[0] for pair in pairs)
    torch.testing.assert_close(flat(one.outputs[0]), flat(other.outputs[0]))
    assert (flat(one.outputs[-1]) - flat(other.outputs[-1])).abs().max() > 1e-4


def test_a_set_stops_when_its_mean_loss_does() -> None:
    whole = adapted(subjects(), ADAM, moves=HEAD, at_once=3)[0].loss_history
    second_change = abs(whole[2] - whole[1])
    assert second_change < abs(whole[1] - whole[0])
    early = replace(ADAM, tolerance=1.001 * second_change)
    for course in adapted(subjects(), early, moves=HEAD, at_once=3):
        assert (course.steps, course.stop_reason) == (2, "converged")
    # Alone they would not have.
    assert {course.steps for course in adapted(subjects(), early, moves=HEAD)} != {2}
