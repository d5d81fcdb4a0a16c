"""Adapting other weights than each person's head, against `recover`'s way and against autograd."""

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
    ours = adapted(subjects(), schedule, moves=HEAD)
    assert len(ours) == len(others) == 3
    for one, other in zip(ours, others, strict=True):
        assert len(one.loss_history) == 5
        assert one.loss_history[-1] < one.loss_history[0]
        np.testing.assert_allclose(one.loss_history, other.loss_history, rtol=1e-3)
        assert one.stop_reason == other.stop_reason
        for output, of_other in zip(one.outputs, other.outputs, strict=True):
            assert flat(output).shape == (1, 157)
            torch.testing.assert_close(flat(output), flat(of_other), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("moves", [HEAD, ALL, TWO_HEADS])
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_plain_step_by_hand(moves: str, at_once: int) -> None:
    auxiliary = networks().auxiliary
    assert auxiliary is not None
    some = some_of(subjects(), slice(0, at_once))
    results = adapted(some, STEP, moves=moves, at_once=at_once)
    used = [networks().main, auxiliary] if moves == TWO_HEADS else [networks().main]
    used = [copy.deepcopy(network) for network in used]
    inputs, evidence = fitter().adaptation_inputs(some)
    objective = fitter().objective

    def run() -> HeadOutput:
        outputs = [network(inputs) for network in used]
        return HeadOutput(*(sum(parts) / len(used) for parts in zip(*outputs, strict=True)))

    def total() -> torch.Tensor:
        return sum(objective.losses(run(), evidence).values()).mean()

    moving: list[nn.Module] = [each if moves == ALL else each.head for each in used]
    parameters = [parameter for module in moving for parameter in module.parameters()]
    before, start = total(), run()
    gradients = torch.autograd.grad(before, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= RATE * gradient
        after, end = total(), run()
    assert after < before
    assert len(results) == at_once
    for person, result in enumerate(results):
        assert result.loss_history == pytest.approx((before.item(), after.item()), rel=1e-4)
        for output, by_hand in zip(result.outputs, (start, end), strict=True):
            expected = flat(by_hand)[[person]].detach()
            torch.testing.assert_close(flat(output), expected, rtol=1e-4, atol=1e-5)


def test_all_parameters_are_more_than_the_head() -> None:
    before = copy.deepcopy(networks().main.state_dict())
    of_head, of_all = (adapted(subjects(), ADAM, moves=moves) for moves in (HEAD, ALL))
    for one, other in zip(of_head, of_all, strict=True):
        assert one.loss_history[0] == pytest.approx(other.loss_history[0], rel=1e-6)
        assert other.loss_history[1] < 0.999 * one.loss_history[1]
    # Nobody finds the networks changed by those who came before.
    after = networks().main.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_two_regressors_are_averaged() -> None:
    auxiliary = networks().auxiliary
    assert auxiliary is not None
    results = adapted(subjects(), STEP, moves=TWO_HEADS)
    inputs, _ = fitter().adaptation_inputs(subjects())
    with torch.no_grad():
        both = [flat(network(inputs)) for network in (networks().main, auxiliary)]
    starts = torch.cat([flat(result.outputs[0]) for result in results])
    torch.testing.assert_close(starts, (both[0] + both[1]) / 2, rtol=1e-5, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 0.01


def test_two_regressors_must_be_there() -> None:
    alone = replace(networks(), auxiliary=None, auxiliary_spec=None)
    with pytest.raises(ValueError, match=r"bundle .* has no second regressor to average with"):
        SharedWeights(alone, free_body(), COCO_17, moves=TWO_HEADS, at_once=1)
