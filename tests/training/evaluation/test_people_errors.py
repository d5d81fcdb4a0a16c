from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import PointRegressor, keypoint_regressor
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput
from dualhmr.rotations import rot6d_to_rotmat
from dualhmr_training.batches import some_of
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.errors import PersonErrors, people_errors, returned_iterates
from dualhmr_training.evaluation.groups import ComparedJoints, EvaluationBatch, GroundTruth
from dualhmr_training.training_folder import Networks

STEPS = 4
DIRECTIONS = {"depth_flips_percent", "foot_degrees"}
LEAN = {"lean_degrees", "true_lean_degrees"}
MEASURES = {
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "pve_mm",
    "pve_centred_mm",
    "given_2d_percent",
    "true_2d_percent",
    "true_2d_loss",
    "objective",
}


def adapted(
    fitter: BatchFitter,
    networks: Networks,
    batch: EvaluationBatch,
    name: str = "paper",
    steps: int = STEPS,
) -> tuple[AdaptationResult, ...]:
    schedule = networks.facts.schedule.schedule(name, weights=networks.facts.weights).limited_to(
        steps
    )
    return fitter.adapt(batch, [schedule])[0]


@pytest.fixture(scope="module")
def results(
    fitter: BatchFitter, networks: Networks, batch: EvaluationBatch
) -> tuple[AdaptationResult, ...]:
    return adapted(fitter, networks, batch)


def best_outputs(results: tuple[AdaptationResult, ...]) -> HeadOutput:
    outputs: list[Any] = [result.outputs[result.best_step] for result in results]
    return HeadOutput(*map(torch.cat, zip(*outputs, strict=True)))


def projected(body: Body, batch: EvaluationBatch, output: HeadOutput) -> Tensor:
    """COCO's keypoints (N, 17, 2) in crop coordinates, the long way: mesh, camera, box."""
    posed = skin(body, rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6))), output.betas)
    points = keypoint_regressor(body, COCO_17).from_mesh(*posed).double()
    seen = []
    for i, (scale, x, y) in enumerate(output.camera.double().tolist()):
        center, height, focal, principal = (part[i].double() for part in batch.evidence.view)
        size = height * scale
        place = torch.tensor([x, y, 0.0]).double()
        place[:2] += 2 * (center - principal) / size
        place[2] = 2 * focal / size
        there = points[i] + place
        in_image = there[:, :2] / there[:, 2:] * focal + principal
        seen.append((in_image - center) / (height * torch.tensor([0.375, 0.5])))
    return torch.stack(seen)


def found(body: Body, batch: EvaluationBatch, results: tuple[AdaptationResult, ...]) -> GroundTruth:
    """As if what was recovered were true."""
    output = best_outputs(results)
    posed = skin(body, rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6))), output.betas)
    return GroundTruth(posed.joints, posed.vertices, projected(body, batch, output).float())


def errors_of(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    compared: ComparedJoints,
    /,
    *,
    steps: int = STEPS,
    **truth: Tensor | None,
) -> list[PersonErrors]:
    told = batch._replace(truth=batch.truth._replace(**truth))
    return people_errors(results, told, fitter.objective, compared, after=range(steps + 1))


@pytest.mark.parametrize(
    ("losses", "max_steps", "expected"),
    [
        ((5.0, 4.0, 3.0), 2, [0, 1, 2]),
        ((3.0, 2.0, 5.0, 1.0), 5, [0, 1, 1, 3, 3, 3]),
        ((2.0, 2.0, 2.0), 2, [0, 0, 0]),
        ((1.0, 9.0), 3, [0, 0, 0, 0]),
        ((1.0, 0.5), 0, [0]),
    ],
)
def test_best_so_far_by_hand(
    losses: tuple[float, ...], max_steps: int, expected: list[int]
) -> None:
    assert returned_iterates(losses, max_steps) == expected


def test_the_last_iterate_by_hand() -> None:
    assert returned_iterates((3.0, 2.0, 5.0), 4, iterate="last") == [0, 1, 2, 2, 2]


def test_errors_after_some_steps_are_those_of_all_steps(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    everything = errors_of(results, batch, fitter, joints)
    some = people_errors(results, batch, fitter.objective, joints, after=[0, STEPS])
    for whole, part in zip(everything, some, strict=True):
        for name, values in part.measures.items():
            np.testing.assert_allclose(values, whole.measures[name][[0, -1]], rtol=1e-6)
        np.testing.assert_allclose(part.joints_mm, whole.joints_mm[[0, -1]], rtol=1e-6)


def test_what_was_found_has_no_error_where_it_is_the_truth(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
    body: Body,
) -> None:
    truth = found(body, batch, results)._asdict()
    people = errors_of(results, batch, fitter, joints, **truth)
    assert len(people) == 3
    for errors in people:
        assert set(errors.measures) == MEASURES | DIRECTIONS
        assert errors.measures["foot_degrees"][-1] < 0.1
        flips = errors.measures["depth_flips_percent"]
        assert flips[-1] == 0 or np.isnan(flips).all()
        for name in MEASURES - {"given_2d_percent", "objective"}:
            assert errors.measures[name].shape == (STEPS + 1,)
            assert errors.measures[name][-1] < 1e-3, name
            assert errors.measures[name][0] > 1e-2 or name == "true_2d_loss", name
        assert errors.joints_mm.shape == errors.aligned_joints_mm.shape == (STEPS + 1, 24)
        assert errors.joints_mm[-1].max() < 1e-3


def test_errors_of_a_truth_that_lies_elsewhere_or_is_larger(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
    body: Body,
) -> None:
    truth = found(body, batch, results)
    assert truth.vertices is not None
    moved = {"joints": truth.joints + 3, "vertices": truth.vertices + 3}
    for errors in errors_of(results, batch, fitter, joints, **moved):
        assert errors.measures["mpjpe_mm"][-1] < 2e-3
        assert errors.measures["pve_centred_mm"][-1] < 2e-3
        assert errors.measures["pve_mm"][-1] == pytest.approx(1000 * 3 * 3**0.5, rel=1e-4)
    larger = {"joints": 1.1 * truth.joints, "vertices": 1.1 * truth.vertices}
    for i, errors in enumerate(errors_of(results, batch, fitter, joints, **larger)):
        pelvis = truth.joints[i, 0]
        from_pelvis = (truth.joints[i] - pelvis).norm(dim=1).mean().item()
        surface = (truth.vertices[i] - pelvis).norm(dim=1).mean().item()
        assert errors.measures["mpjpe_mm"][-1] == pytest.approx(100 * from_pelvis, rel=1e-4)
        assert errors.measures["pve_centred_mm"][-1] == pytest.approx(100 * surface, rel=1e-4)
        in_place = truth.vertices[i].norm(dim=1).mean().item()
        assert errors.measures["pve_mm"][-1] == pytest.approx(100 * in_place, rel=1e-4)
        assert errors.measures["pa_mpjpe_mm"][-1] < 1e-3


def test_2d_errors_the_long_way(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
    body: Body,
) -> None:
    seen = projected(body, batch, best_outputs(results)).numpy()
    assert batch.truth.keypoints is not None
    given, true = batch.evidence.keypoints.numpy(), batch.truth.keypoints.numpy()
    for i, errors in enumerate(errors_of(results, batch, fitter, joints)):
        known = batch.evidence.confidence[i].numpy() > 0
        # In boxes of height 1 and width 3/4.
        from_given = (seen[i] - given[i])[known] * (0.375, 0.5)
        from_true = (seen[i] - true[i])[known] * (0.375, 0.5)
        percent = 100 * np.linalg.norm(from_given, axis=1).mean()
        assert errors.measures["given_2d_percent"][-1] == pytest.approx(percent, rel=1e-4)
        percent = 100 * np.linalg.norm(from_true, axis=1).mean()
        assert errors.measures["true_2d_percent"][-1] == pytest.approx(percent, rel=1e-4)
        squared = ((seen[i] - true[i])[known] ** 2).sum() / (2 * 17)
        assert errors.measures["true_2d_loss"][-1] == pytest.approx(squared, rel=1e-3)


def test_keypoints_that_were_not_given_do_not_count(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    confidence = batch.evidence.confidence.clone()
    confidence[1, 3] = 0
    partly = batch._replace(evidence=batch.evidence._replace(confidence=confidence))
    assert batch.truth.keypoints is not None
    odd = batch.truth.keypoints.clone()
    odd[1, 3] = torch.nan
    errors = errors_of(results, partly, fitter, joints)
    same = errors_of(results, partly, fitter, joints, keypoints=odd)
    all_count = errors_of(results, batch, fitter, joints)
    for name in ("true_2d_percent", "true_2d_loss"):
        np.testing.assert_array_equal(errors[1].measures[name], same[1].measures[name])
        assert (errors[1].measures[name] != all_count[1].measures[name]).all()


def test_who_was_given_no_keypoints_has_no_errors_of_them(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    confidence = batch.evidence.confidence.clone()
    confidence[2] = 0
    unseen = batch._replace(evidence=batch.evidence._replace(confidence=confidence))
    first, _, last = errors_of(results, unseen, fitter, joints)
    for name in ("given_2d_percent", "true_2d_percent"):
        assert np.isnan(last.measures[name]).all()
        assert np.isfinite(first.measures[name]).all()
    assert np.isfinite(last.measures["mpjpe_mm"]).all()


def test_what_a_data_set_does_not_tell_is_left_out(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    for errors in errors_of(results, batch, fitter, joints, vertices=None, keypoints=None):
        assert set(errors.measures) == (MEASURES | DIRECTIONS | LEAN) - {
            "pve_mm",
            "pve_centred_mm",
            "true_2d_percent",
            "true_2d_loss",
        }


def test_lean_is_that_of_people_who_stand(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    standing = torch.tensor([True, False, True])
    people = errors_of(results, batch, fitter, joints, standing=standing)
    for person, stands in zip(people, standing, strict=True):
        for name in LEAN:
            assert np.isfinite(person.measures[name]).all() == bool(stands)
    assert np.ptp(people[0].measures["true_lean_degrees"]) == 0


def test_who_else_is_there_does_not_matter(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    # Of unlike numbers of iterates, too.
    short = stopped_after(results[1], 2)
    together = errors_of((results[0], short, results[2]), batch, fitter, joints)
    for i, result in enumerate((results[0], short, results[2])):
        alone = some_of(batch, slice(i, i + 1))
        (errors,) = errors_of((result,), alone, fitter, joints)
        for name in MEASURES:
            np.testing.assert_allclose(
                errors.measures[name], together[i].measures[name], rtol=1e-4, atol=1e-4
            )


def stopped_after(result: AdaptationResult, steps: int) -> AdaptationResult:
    """As if it had stopped after `steps`."""
    history = result.loss_history[: steps + 1]
    return AdaptationResult(
        history.index(min(history)), history, result.outputs[: steps + 1], "converged"
    )


@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
def test_the_error_after_a_step_is_that_of_who_ends_there(
    fitter: BatchFitter,
    networks: Networks,
    batch: EvaluationBatch,
    joints: ComparedJoints,
    schedule: str,
) -> None:
    def errors(steps: int) -> list[PersonErrors]:
        cut = adapted(fitter, networks, batch, schedule, steps)
        return errors_of(cut, batch, fitter, joints, steps=steps)

    every = errors(3)
    for step in range(3):
        for ended, person in zip(errors(step), every, strict=True):
            for name, values in ended.measures.items():
                assert values.shape == (step + 1,)
                np.testing.assert_allclose(values, person.measures[name][: step + 1], rtol=1e-4)


def test_the_objective_never_rises(
    fitter: BatchFitter, networks: Networks, batch: EvaluationBatch, joints: ComparedJoints
) -> None:
    results = adapted(fitter, networks, batch, "eft", 14)
    people = errors_of(results, batch, fitter, joints, steps=14)
    for result, errors in zip(results, people, strict=True):
        objective = errors.measures["objective"]
        assert (np.diff(objective) <= 0).all()
        assert objective[-1] == pytest.approx(min(result.loss_history))


def test_who_stops_early_keeps_the_best_iterate(
    results: tuple[AdaptationResult, ...],
    batch: EvaluationBatch,
    fitter: BatchFitter,
    joints: ComparedJoints,
) -> None:
    short = errors_of(results, batch, fitter, joints)
    long = errors_of(results, batch, fitter, joints, steps=STEPS + 6)
    for result, before, after in zip(results, short, long, strict=True):
        for name, errors in after.measures.items():
            np.testing.assert_array_equal(errors[: STEPS + 1], before.measures[name])
            np.testing.assert_array_equal(errors[STEPS:], before.measures[name][-1])
        assert (after.steps, after.stop_reason) == (result.steps, result.stop_reason)


def test_a_protocol_with_joints_of_its_own(
    results: tuple[AdaptationResult, ...], batch: EvaluationBatch, fitter: BatchFitter, body: Body
) -> None:
    # Hips and knees, against a root between the hips that does not count itself.
    rows = torch.zeros(5, 24)
    rows[0, [1, 2]] = 0.5
    for row, joint in enumerate((1, 2, 4, 5), start=1):
        rows[row, joint] = 1
    points = PointRegressor(
        ("mid_hip", "left_hip", "right_hip", "left_knee", "right_knee"),
        rows,
        torch.zeros(5, body.vertex_count),
    )
    legs = ComparedJoints(points, root=0, counted=(1, 2, 3, 4))
    assert legs.names == ("left_hip", "right_hip", "left_knee", "right_knee")
    moved = found(body, batch, results).joints.clone()
    moved[:, 4] += torch.tensor([0.03, 0.0, 0.04])
    for errors in errors_of(results, batch, fitter, legs, joints=rows @ (moved + 1)):
        np.testing.assert_allclose(errors.joints_mm[-1], [0, 0, 50, 0], rtol=0, atol=2e-3)
        assert errors.measures["mpjpe_mm"][-1] == pytest.approx(12.5, abs=1e-3)
        np.testing.assert_allclose(
            errors.measures["pa_mpjpe_mm"], errors.aligned_joints_mm.mean(1), rtol=1e-12
        )
        assert errors.aligned_joints_mm.shape == (STEPS + 1, 4)
