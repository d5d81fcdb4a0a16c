"""Adapting to other pseudo meshes than those of the auxiliary network trained with the main one."""

from dataclasses import replace

import pytest
import torch
from helpers.shared_weights_examples import fitter, networks, subjects

from dualhmr.body.model import pose_skeleton
from dualhmr.bundle import NetworkSpec
from dualhmr.keypoints import COCO_17
from dualhmr_benchmarks.claims.experiments.experiment import (
    TruthFitter,
    auxiliary_alone,
    with_auxiliary_eye_simulated,
    with_auxiliary_of,
)
from dualhmr_benchmarks.claims.experiments.setting import free_body
from dualhmr_training.presets import landmark_network
from dualhmr_training.training_folder import Networks

EYE: NetworkSpec = landmark_network(feature_count=16, blocks=1, hidden=16)


def with_eye() -> Networks:
    return replace(networks(), auxiliary=EYE.build().eval(), auxiliary_spec=EYE)


def test_the_truth_as_pseudo_mesh() -> None:
    people = subjects()
    truthful = TruthFitter(networks(), free_body(), COCO_17, weights=networks().facts.weights)
    inputs, evidence = truthful.adaptation_inputs(people)
    expected_inputs, pseudo = fitter().adaptation_inputs(people)
    assert all(torch.equal(inputs[name], tensor) for name, tensor in expected_inputs.items())
    assert evidence.target is not None
    assert pseudo.target is not None
    joints = pose_skeleton(free_body(), evidence.target.rotations, evidence.target.betas).joints
    torch.testing.assert_close(joints, people.truth.joints)
    assert (pseudo.target.joints - evidence.target.joints).abs().max() > 0.01
    unknown = people._replace(truth=people.truth._replace(betas=None))
    with pytest.raises(ValueError, match="the truth about these people has no rotations"):
        truthful.adaptation_inputs(unknown)


def test_an_eye_that_is_simulated_needs_no_pictures() -> None:
    networks_with_eye = with_eye()
    assert "image" in networks_with_eye.reads
    simulated = with_auxiliary_eye_simulated(networks_with_eye)
    assert simulated.reads == {"landmarks", "keypoints", "box_info"}
    assert simulated.auxiliary is not None
    assert not simulated.auxiliary.training
    without = with_auxiliary_eye_simulated(networks())
    assert without.auxiliary is networks().auxiliary
    assert with_auxiliary_eye_simulated(auxiliary_alone(networks())).auxiliary is None


def test_networks_are_put_together() -> None:
    eye = with_eye()
    together = with_auxiliary_of(networks(), eye)
    assert (together.main, together.auxiliary) == (networks().main, eye.auxiliary)
    alone = auxiliary_alone(together)
    assert (alone.main, alone.main_spec, alone.auxiliary) == (eye.auxiliary, EYE, None)
    with pytest.raises(ValueError, match="has no auxiliary network"):
        auxiliary_alone(alone)
