"""Adapting other weights than each person's head, against `recover` and autograd."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.shared_weights_examples import ADAM, adapted, fitter, flat, networks, subjects
from torch import nn

from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput
from dualhmr_benchmarks.claims.experiments.setting import free_body
from dualhmr_benchmarks.claims.experiments.shared_weights import ALL, HEAD, TWO_HEADS, SharedWeights
from dualhmr_training.batches import some_of
from dualhmr_training.evaluation.batch_fitter import BatchFitter

RATE = 1e-3
STEP = Schedule("step", (Phase(GradientDescent(RATE), 1),), 0.0)
BOTH_KINDS = Schedule(
    "plain, then Adam",
    (Phase(GradientDescent(1e-2, 1.0), 1), Phase(Adam(1e-4), 3, ("keypoints_2d",))),
    0.0,
)


@pytest.mark.parametrize("schedule", [ADAM, BOTH_KINDS], ids=lambda schedule: schedule.name)
def test_heads_of_one_person_each_are_adapted_as_recover_does(schedule: Schedule) -> None:
    weights = networks().facts.weights
    fitter = BatchFitter(networks(), free_body(), COCO_17, weights=weights)
    (others,) = fitter.adapt(subjects(), [schedule])
    ours = adapted(subjects(), schedule, scope=HEAD)
    assert len(ours) == len(others) == 3
    for one, other in zip(ours, others, strict=True):
        assert len(one.loss_history) == 5
        assert one.loss_history[-1] < one.loss_history[0]
        np.testing.assert_allclose(one.loss_history, other.loss_history, rtol=1e-3)
        assert one.stop_reason == other.stop_reason
        for output, of_other in zip(one.outputs, other.outputs, strict=True):
            assert flat(output).shape == (1, 157)
            torch.testing.assert_close(flat(output), flat(of_other), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scope", [HEAD, ALL, TWO_HEADS])
@pytest.mark.parametrize("people_at_once", [1, 3])
def test_a_plain_step_by_hand(scope: str, people_at_once: int) -> None:
    auxiliary = networks().auxiliary
    assert auxiliary is not None
    some = some_of(subjects(), slice(0, people_at_once))
    results = adapted(some, STEP, scope=scope, people_at_once=people_at_once)
    used = [networks().main, auxiliary] if scope == TWO_HEADS else [networks().main]
    used = [copy.deepcopy(network) for network in used]
    inputs, evidence = fitter().adaptation_inputs(some)
    objective = fitter().objective

    def run() -> HeadOutput:
        outputs = [network(inputs) for network in used]
        return HeadOutput(*(sum(parts) / len(used) for parts in zip(*outputs, strict=True)))

    def total() -> torch.Tensor:
        return sum(objective.losses(run(), evidence).values()).mean()

    moving: list[nn.Module] = [each if scope == ALL else each.head for each in used]
    parameters = [parameter for module in moving for parameter in module.parameters()]
    before, start = total(), run()
    gradients = torch.autograd.grad(before, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= RATE * gradient
        after, end = total(), run()
    assert after < before
    assert len(results) == people_at_once
    for person, result in enumerate(results):
        assert result.loss_history == pytest.approx((before.item(), after.item()), rel=1e-4)
        for output, by_hand in zip(result.outputs, (start, end), strict=True):
            expected = flat(by_hand)[[person]].detach()
            torch.testing.assert_close(flat(output), expected, rtol=1e-4, atol=1e-5)


def test_many_people_are_adapted_as_one_by_one() -> None:
    early = replace(BOTH_KINDS, tolerance=2e-3)
    together = adapted(subjects(), early, scope=HEAD)
    for person, result in enumerate(together):
        (alone,) = adapted(some_of(subjects(), slice(person, person + 1)), early, scope=HEAD)
        assert result.loss_history == pytest.approx(alone.loss_history, rel=1e-4)
        assert (result.stop_reason, result.best_step) == (alone.stop_reason, alone.best_step)


def test_all_parameters_are_more_than_the_head() -> None:
    before = copy.deepcopy(networks().main.state_dict())
    of_head, of_all = (adapted(subjects(), ADAM, scope=scope) for scope in (HEAD, ALL))
    falls = []
    for one, other in zip(of_head, of_all, strict=True):
        assert one.loss_history[0] == pytest.approx(other.loss_history[0], rel=1e-5)
        falls.append((one.loss_history[1], other.loss_history[1]))
    assert np.mean(falls, axis=0)[1] < 0.999 * np.mean(falls, axis=0)[0], falls
    # Nobody finds the networks changed by those who came before.
    after = networks().main.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_two_regressors_are_averaged() -> None:
    auxiliary = networks().auxiliary
    assert auxiliary is not None
    results = adapted(subjects(), STEP, scope=TWO_HEADS)
    inputs, _ = fitter().adaptation_inputs(subjects())
    with torch.no_grad():
        both = [flat(network(inputs)) for network in (networks().main, auxiliary)]
    starts = torch.cat([flat(result.outputs[0]) for result in results])
    torch.testing.assert_close(starts, (both[0] + both[1]) / 2, rtol=1e-5, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 0.01


def test_two_regressors_must_be_there() -> None:
    alone = replace(networks(), auxiliary=None, auxiliary_spec=None)
    with pytest.raises(ValueError, match=r"bundle .* has no second regressor to average with"):
        SharedWeights(alone, free_body(), COCO_17, scope=TWO_HEADS, people_at_once=1)


def test_people_of_a_set_go_together() -> None:
    alone = adapted(subjects(), ADAM, scope=HEAD)
    first, second, third = adapted(subjects(), ADAM, scope=HEAD, people_at_once=2)
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
    one, other = (adapted(pair, ADAM, scope=HEAD, people_at_once=2)[0] for pair in pairs)
    torch.testing.assert_close(flat(one.outputs[0]), flat(other.outputs[0]))
    assert (flat(one.outputs[-1]) - flat(other.outputs[-1])).abs().max() > 1e-4


def test_a_set_stops_when_its_mean_loss_does() -> None:
    whole = adapted(subjects(), ADAM, scope=HEAD, people_at_once=3)[0].loss_history
    second_change = abs(whole[2] - whole[1])
    assert second_change < abs(whole[1] - whole[0])
    early = replace(ADAM, tolerance=1.001 * second_change)
    for result in adapted(subjects(), early, scope=HEAD, people_at_once=3):
        assert (result.steps, result.stop_reason) == (2, "converged")
    # Alone they would not have.
    assert {result.steps for result in adapted(subjects(), early, scope=HEAD)} != {2}
