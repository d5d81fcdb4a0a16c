from dataclasses import replace

import numpy as np
import pytest
import torch

from dualhmr import Recoverer, Recovery
from dualhmr.adaptation import SCHEDULE_NAMES
from dualhmr.body import PointRegressor, skin
from dualhmr_training.evaluation.errors import PersonErrors, best_so_far, person_errors
from dualhmr_training.evaluation.subjects import ComparedJoints, Subject, Truth

STEPS = 4
MEASURES = {
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "pve_mm",
    "given_2d_percent",
    "true_2d_percent",
    "true_2d_loss",
    "objective",
}


def recover(
    recoverer: Recoverer, subject: Subject, *, schedule: str = "paper", max_steps: int = STEPS
) -> Recovery:
    return recoverer.recover(
        subject.image,
        subject.keypoints,
        schedule=schedule,
        max_steps=max_steps,
        focal_length=subject.focal_length,
        principal_point=subject.principal_point,
    )


def found(recovery: Recovery) -> Truth:
    """As if what was recovered were true."""
    rotations = np.concatenate([recovery.global_orient[:, None], recovery.body_pose], 1)
    posed = skin(recovery.body, torch.from_numpy(rotations), torch.from_numpy(recovery.betas))
    keypoints = torch.from_numpy(recovery.keypoints_2d[0])
    return Truth(posed.joints[0], posed.vertices[0], keypoints)


@pytest.fixture(scope="module")
def recovery(recoverer: Recoverer, subjects: list[Subject]) -> Recovery:
    return recover(recoverer, subjects[0])


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
    assert best_so_far(losses, max_steps) == expected


def test_what_was_found_has_no_error_where_it_is_the_truth(
    recovery: Recovery, joints: ComparedJoints
) -> None:
    errors = person_errors(recovery, found(recovery), joints, max_steps=STEPS)
    assert set(errors.measures) == MEASURES
    for name in MEASURES - {"given_2d_percent", "objective"}:
        assert errors.measures[name].shape == (STEPS + 1,)
        assert errors.measures[name][-1] < 1e-3, name
        assert errors.measures[name][0] > 1e-2 or name == "true_2d_loss", name
    assert errors.joints_mm.shape == errors.aligned_joints_mm.shape == (STEPS + 1, 24)
    assert errors.joints_mm[-1].max() < 1e-3


def test_errors_of_a_truth_that_lies_elsewhere_or_is_larger(
    recovery: Recovery, joints: ComparedJoints
) -> None:
    truth = found(recovery)
    assert truth.vertices is not None
    moved = truth._replace(joints=truth.joints + 3, vertices=truth.vertices + 3)
    errors = person_errors(recovery, moved, joints, max_steps=STEPS).measures
    assert errors["mpjpe_mm"][-1] < 2e-3
    assert errors["pve_mm"][-1] < 2e-3
    larger = truth._replace(joints=1.1 * truth.joints, vertices=1.1 * truth.vertices)
    errors = person_errors(recovery, larger, joints, max_steps=STEPS).measures
    from_pelvis = (truth.joints - truth.joints[0]).norm(dim=1).mean().item()
    assert errors["mpjpe_mm"][-1] == pytest.approx(100 * from_pelvis, rel=1e-4)
    surface = (truth.vertices - truth.joints[0]).norm(dim=1).mean().item()
    assert errors["pve_mm"][-1] == pytest.approx(100 * surface, rel=1e-4)
    assert errors["pa_mpjpe_mm"][-1] < 1e-3


def test_2d_errors_are_those_of_the_recovery(
    recovery: Recovery, subjects: list[Subject], joints: ComparedJoints
) -> None:
    truth = subjects[0].truth
    errors = person_errors(recovery, truth, joints, max_steps=STEPS).measures
    known = subjects[0].keypoints[:, 2] > 0
    x, y, _ = subjects[0].keypoints[known].T
    box = 1.2 * max(np.ptp(y), np.ptp(x) * 4 / 3)
    given = errors["given_2d_percent"][[0, -1]] * box / 100
    np.testing.assert_allclose(given, recovery.reprojection_px[0], rtol=1e-4)
    assert truth.keypoints is not None
    away = (recovery.keypoints_2d[0] - truth.keypoints.numpy())[known]
    distance = np.linalg.norm(away, axis=1).mean()
    assert errors["true_2d_percent"][-1] == pytest.approx(100 * distance / box, rel=1e-4)
    squared = ((away / np.array([0.375 * box, 0.5 * box])) ** 2).sum() / (2 * 17)
    assert errors["true_2d_loss"][-1] == pytest.approx(squared, rel=1e-3)


def test_keypoints_that_were_not_given_do_not_count(
    recoverer: Recoverer, subjects: list[Subject], joints: ComparedJoints
) -> None:
    keypoints = subjects[0].keypoints.copy()
    keypoints[3] = 0
    partly = recover(recoverer, subjects[0]._replace(keypoints=keypoints))
    truth = subjects[0].truth
    assert truth.keypoints is not None
    odd = truth.keypoints.clone()
    odd[3] = torch.nan
    errors, same = (
        person_errors(partly, truth._replace(keypoints=k), joints, max_steps=STEPS).measures
        for k in (truth.keypoints, odd)
    )
    np.testing.assert_array_equal(errors["true_2d_percent"], same["true_2d_percent"])
    np.testing.assert_array_equal(errors["true_2d_loss"], same["true_2d_loss"])


def test_what_a_data_set_does_not_tell_is_left_out(
    recovery: Recovery, subjects: list[Subject], joints: ComparedJoints
) -> None:
    truth = subjects[0].truth._replace(vertices=None, keypoints=None)
    errors = person_errors(recovery, truth, joints, max_steps=STEPS)
    assert set(errors.measures) == MEASURES - {"pve_mm", "true_2d_percent", "true_2d_loss"}


@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
def test_the_error_after_a_step_is_that_of_who_ends_there(
    recoverer: Recoverer, subjects: list[Subject], joints: ComparedJoints, schedule: str
) -> None:
    subject = subjects[1]

    def errors(max_steps: int) -> PersonErrors:
        cut = recover(recoverer, subject, schedule=schedule, max_steps=max_steps)
        return person_errors(cut, subject.truth, joints, max_steps=max_steps)

    every = errors(3)
    for step in range(3):
        for name, ended in errors(step).measures.items():
            assert ended.shape == (step + 1,)
            np.testing.assert_allclose(ended, every.measures[name][: step + 1], rtol=1e-4)


def test_the_objective_never_rises(
    recoverer: Recoverer, subjects: list[Subject], joints: ComparedJoints
) -> None:
    for subject in subjects:
        recovery = recover(recoverer, subject, schedule="eft", max_steps=14)
        errors = person_errors(recovery, subject.truth, joints, max_steps=14).measures
        assert (np.diff(errors["objective"]) <= 0).all()
        assert errors["objective"][-1] == pytest.approx(min(recovery.loss_history[0]))
        best = best_so_far(recovery.loss_history[0], 14)
        assert best[-1] == recovery.best_step[0]


def test_who_stops_early_keeps_the_best_iterate(
    recovery: Recovery, subjects: list[Subject], joints: ComparedJoints
) -> None:
    short = person_errors(recovery, subjects[0].truth, joints, max_steps=STEPS)
    long = person_errors(recovery, subjects[0].truth, joints, max_steps=STEPS + 6)
    for name, errors in long.measures.items():
        np.testing.assert_array_equal(errors[: STEPS + 1], short.measures[name])
        assert (errors[STEPS:] == short.measures[name][-1]).all()
    assert long.steps == recovery.steps[0]
    assert long.stop_reason == recovery.stop_reason[0]


def test_a_protocol_with_joints_of_its_own(recovery: Recovery) -> None:
    # Hips and knees, against a root between the hips that does not count itself.
    rows = torch.zeros(5, 24)
    rows[0, [1, 2]] = 0.5
    for row, joint in enumerate((1, 2, 4, 5), start=1):
        rows[row, joint] = 1
    points = PointRegressor(
        ("mid_hip", "left_hip", "right_hip", "left_knee", "right_knee"),
        rows,
        torch.zeros(5, recovery.body.vertex_count),
    )
    legs = ComparedJoints(points, root=0, counted=(1, 2, 3, 4))
    assert legs.names == ("left_hip", "right_hip", "left_knee", "right_knee")
    truth = found(recovery)
    moved = truth.joints[:6].clone()
    moved[4] += torch.tensor([0.03, 0.0, 0.04])
    moved += 1
    on_legs = truth._replace(joints=rows[:, :6] @ moved)
    errors = person_errors(recovery, on_legs, legs, max_steps=STEPS)
    np.testing.assert_allclose(errors.joints_mm[-1], [0, 0, 50, 0], rtol=0, atol=1e-3)
    assert errors.measures["mpjpe_mm"][-1] == pytest.approx(12.5, abs=1e-3)
    np.testing.assert_allclose(
        errors.measures["pa_mpjpe_mm"], errors.aligned_joints_mm.mean(1), rtol=1e-12
    )
    assert errors.aligned_joints_mm.shape == (STEPS + 1, 4)


def test_one_person_at_a_time(
    recoverer: Recoverer, subjects: list[Subject], joints: ComparedJoints
) -> None:
    both = subjects[0]._replace(keypoints=np.stack([s.keypoints for s in subjects[:2]]))
    recovery = recover(recoverer, both, max_steps=0)
    with pytest.raises(ValueError, match="the recovery is of 2"):
        person_errors(recovery, subjects[0].truth, joints, max_steps=0)
    alone = replace(recovery[1])
    person_errors(alone, subjects[1].truth, joints, max_steps=0)
