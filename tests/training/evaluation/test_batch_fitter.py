"""Evaluating many people at once against recovering them one by one, as users do."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from dualhmr import Recoverer, Recovery
from dualhmr.adaptation.schedule import SCHEDULE_NAMES, Schedule
from dualhmr.body.model import Body, skin
from dualhmr.camera import half_crop
from dualhmr.keypoints import COCO_17
from dualhmr.objective.weights import LossWeights
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.errors import people_errors
from dualhmr_training.evaluation.groups import ComparedJoints, EvaluationBatch, EvaluationGroup
from dualhmr_training.evaluation.metrics import mpjpe, pa_mpjpe, pve, pve_centred
from dualhmr_training.training_folder import Networks, open_networks

FOCAL_LENGTH_PX = 1000.0
CENTER = (1000.0, 1000.0)


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    return Recoverer()


def recovered(
    recoverer: Recoverer, batch: EvaluationBatch, person: int, schedule: Schedule
) -> Recovery:
    """The same keypoints in a photograph, whose camera is known."""
    view = batch.evidence.view
    half = half_crop(view.box_height[person])
    in_focal_lengths = batch.evidence.keypoints[person] * half + view.box_center[person]
    pixels = in_focal_lengths * FOCAL_LENGTH_PX + torch.tensor(CENTER)
    given = torch.cat([pixels, batch.evidence.confidence[person, :, None]], dim=1)
    return recoverer.recover(
        np.zeros((2000, 2000, 3), np.uint8),
        given.numpy(),
        keypoint_set="coco_17",
        schedule=schedule,
        focal_length=FOCAL_LENGTH_PX,
        principal_point=CENTER,
    )


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_errors_are_those_of_what_recover_gives(
    name: str,
    recoverer: Recoverer,
    body: Body,
    batch: EvaluationBatch,
    joints: ComparedJoints,
) -> None:
    networks = open_networks(None)
    fitter = BatchFitter(networks, body, COCO_17, weights=networks.facts.weights)
    batch = batch._replace(image=torch.zeros(3, 256, 192, 3, dtype=torch.uint8))
    schedule = networks.facts.schedule.schedule(name, weights=networks.facts.weights)
    (results,) = fitter.adapt(batch, [schedule])
    people = people_errors(
        results,
        batch,
        fitter.objective,
        joints,
        after=range(schedule.max_steps + 1),
        iterate=schedule.iterate,
    )
    for person, errors in enumerate(people):
        recovery = recovered(recoverer, batch, person, schedule)
        rotations = np.concatenate([recovery.global_orient[:, None], recovery.body_pose], 1)
        posed = skin(body, torch.from_numpy(rotations), torch.from_numpy(recovery.betas))
        truth = batch.truth.joints[[person]].double()
        found = posed.joints.double()
        expected = {
            "mpjpe_mm": mpjpe(found, truth),
            "pa_mpjpe_mm": pa_mpjpe(found, truth),
        }
        assert batch.truth.vertices is not None
        expected["pve_mm"] = pve(posed.vertices, batch.truth.vertices[[person]])
        expected["pve_centred_mm"] = pve_centred(
            posed.vertices,
            batch.truth.vertices[[person]],
            root=posed.joints[:, 0],
            true_root=truth[:, 0].float(),
        )
        for measure, metres in expected.items():
            assert errors.measures[measure][-1] == pytest.approx(1000 * metres.item(), abs=0.05)
        assert errors.steps == recovery.steps[0]
        assert errors.stop_reason == recovery.stop_reason[0]
        np.testing.assert_allclose(
            results[person].loss_history, recovery.loss_history[0], rtol=1e-3
        )
        box_px = FOCAL_LENGTH_PX * batch.evidence.view.box_height[person].item()
        given_px = errors.measures["given_2d_percent"][[0, -1]] * box_px / 100
        np.testing.assert_allclose(given_px, recovery.reprojection_px[0], rtol=1e-3)


def test_the_script_ranks_the_uncertainty_that_recover_gives(
    recoverer: Recoverer, body: Body, batch: EvaluationBatch
) -> None:
    path = Path(__file__).parents[3] / "benchmarks" / "scripts" / "uncertainty.py"
    spec = spec_from_file_location("uncertainty", path)
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    facts = (networks := open_networks(None)).facts
    fitter = script.RememberingFitter(networks, body, COCO_17, weights=facts.weights)
    batch = batch._replace(image=torch.zeros(3, 256, 192, 3, dtype=torch.uint8))
    schedule = facts.schedule.schedule("trained", weights=facts.weights).limited_to(2)
    record = script.joint_record(fitter, batch, schedule)
    for person in range(3):
        recovery = recovered(recoverer, batch, person, schedule)
        np.testing.assert_allclose(record.uncertainty[person], recovery.uncertainty[0], atol=1e-4)
    assert (record.error[:, 0] == 0).all()
    numbers = np.array([[3.0, 1, 5], [1, 2, 5], [2, 3, 5]])
    found = script.rank_correlation(numbers, np.exp(numbers) * [1, -1, 1])
    np.testing.assert_array_equal(found, [1, -1, np.nan])
    assert "| **mean** |" in script.table({"noise 0": record})


def test_several_schedules_at_once_do_not_disturb_each_other(
    fitter: BatchFitter, networks: Networks, batch: EvaluationBatch
) -> None:
    schedules = [
        networks.facts.schedule.schedule(name, weights=networks.facts.weights).limited_to(2)
        for name in SCHEDULE_NAMES
    ]
    for schedule, results in zip(schedules, fitter.adapt(batch, schedules), strict=True):
        (alone,) = fitter.adapt(batch, [schedule])
        assert [result.loss_history for result in results] == [
            result.loss_history for result in alone
        ]


def test_weights_of_losses_are_those_asked_for(
    networks: Networks, body: Body, group: EvaluationGroup, batch: EvaluationBatch
) -> None:
    start = networks.facts.schedule.schedule("eft", weights=networks.facts.weights).limited_to(0)

    def loss(weight: float) -> float:
        fitter = BatchFitter(
            networks, body, group.keypoint_set, weights=LossWeights(keypoints_2d=weight)
        )
        return fitter.adapt(batch, [start])[0][0].loss_history[0]

    assert loss(10.0) == pytest.approx(4 * loss(2.5), rel=1e-5)
