import math
from pathlib import Path

import numpy as np
import torch

from dualhmr.adaptation.schedule import named_schedule
from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.keypoints import COCO_17
from dualhmr_training.data.synthetic.detector import noise_only
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.data.synthetic.people import PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import NO_VARIATION, PoseFile, read_poses
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import (
    EvaluationBatch,
    EvaluationGroup,
    detected_group,
    population_group,
    read_pool,
    synthetic_group,
)
from dualhmr_training.validation import held_out_clips


def all_of(group: EvaluationGroup) -> EvaluationBatch:
    """The people of a group that is small enough for one batch."""
    (batch,) = group.batches
    return batch


def in_focal_lengths(batch: EvaluationBatch, crop: torch.Tensor) -> torch.Tensor:
    view = batch.evidence.view
    half = torch.stack([0.375 * view.box_height, 0.5 * view.box_height], dim=1)
    return crop * half[:, None] + view.box_center[:, None]


def test_a_subject_is_what_a_user_would_have(
    batch: EvaluationBatch, group: EvaluationGroup
) -> None:
    assert (group.count, group.keypoint_set) == (3, COCO_17)
    assert group.keypoints == "noise 0.02"
    assert batch.image is None
    assert batch.evidence.target is None
    assert batch.evidence.keypoints.shape == (3, 17, 2)
    assert batch.evidence.confidence.shape == (3, 17)
    assert batch.truth.joints.shape == (3, 24, 3)


def test_noise_is_all_that_a_level_changes(
    body: Body, poses: torch.Tensor, batch: EvaluationBatch
) -> None:
    exact = all_of(synthetic_group(body, poses, noise=0, count=3, seed=7, pictures=False))
    assert exact.truth.keypoints is not None
    assert batch.truth.keypoints is not None
    true = in_focal_lengths(exact, exact.truth.keypoints)
    same = in_focal_lengths(batch, batch.truth.keypoints)
    np.testing.assert_allclose(same, true, rtol=0, atol=1e-5)
    shown = in_focal_lengths(exact, exact.evidence.keypoints)
    seen = exact.evidence.confidence > 0
    np.testing.assert_allclose(shown[seen], true[seen], rtol=0, atol=1e-5)
    assert torch.equal(exact.truth.joints, batch.truth.joints)
    noisy = in_focal_lengths(batch, batch.evidence.keypoints)
    for person in range(3):
        size = (true[person].amax(0) - true[person].amin(0)).max()
        far = (noisy[person] - true[person])[seen[person]].abs().max() / size
        assert 0.02 < far < 0.1


def test_the_truth_is_seen_where_the_keypoints_are(body: Body, batch: EvaluationBatch) -> None:
    points = keypoint_regressor(body, COCO_17)
    truth = batch.truth
    assert truth.vertices is not None
    assert truth.keypoints is not None
    seen = in_focal_lengths(batch, truth.keypoints).double().numpy()
    everybody = points.from_mesh(truth.vertices, truth.joints).double().numpy()
    for person in range(3):
        (x, y, z), (u, v) = everybody[person].T, seen[person].T
        # u (z + tz) = x + tx and v (z + tz) = y + ty: linear in where the person stands.
        zeros, ones = np.zeros(17), np.ones(17)
        matrix = np.concatenate([np.stack([ones, zeros, -u], 1), np.stack([zeros, ones, -v], 1)])
        place = np.linalg.lstsq(matrix, np.concatenate([u * z - x, v * z - y]), rcond=None)[0]
        np.testing.assert_allclose((x + place[0]) / (z + place[2]), u, rtol=0, atol=1e-4)
        np.testing.assert_allclose((y + place[1]) / (z + place[2]), v, rtol=0, atol=1e-4)


def test_people_are_those_of_the_seed_in_however_many_batches(
    body: Body, poses: torch.Tensor
) -> None:
    population = Population(poses=NO_VARIATION, detector=noise_only(0.02))
    people = PeopleSampler(body, poses, population, seed=9).sample(40)
    group = synthetic_group(body, poses, noise=0.02, count=40, seed=9, pictures=False)
    first, second = group.batches
    for batch, part in ((first, slice(0, 32)), (second, slice(32, 40))):
        expected = skin(body, people.rotations[part], people.betas[part])
        torch.testing.assert_close(batch.truth.joints, expected.joints)
        torch.testing.assert_close(batch.truth.vertices, expected.vertices)
        assert torch.equal(batch.evidence.keypoints, people.detected[part, :17])


def test_pictures_are_of_the_same_people_and_always_the_same(
    body: Body, poses: torch.Tensor, batch: EvaluationBatch
) -> None:
    def pictured(seed: int) -> EvaluationBatch:
        group = synthetic_group(body, poses, noise=0.02, count=3, seed=seed, pictures=True)
        return all_of(group)

    with_pictures = pictured(7)
    assert with_pictures.image is not None
    assert with_pictures.image.shape == (3, 256, 192, 3)
    assert with_pictures.image.dtype == torch.uint8
    assert torch.equal(with_pictures.evidence.keypoints, batch.evidence.keypoints)
    again, other = pictured(7).image, pictured(8).image
    assert again is not None
    assert other is not None
    assert torch.equal(with_pictures.image, again)
    assert not torch.equal(with_pictures.image, other)


def test_held_out_poses_are_those_that_training_leaves_out(pose_file: Path) -> None:
    poses = read_poses(pose_file)
    assert torch.equal(read_pool(pose_file, held_out=False).rotvecs, poses.rotvecs)
    held_out = read_pool(pose_file, held_out=True)
    assert torch.equal(held_out.rotvecs, poses.of_clips(held_out_clips(poses)))
    assert set(held_out.clips) == held_out_clips(poses)
    assert 0 < len(held_out.clips) < len(poses.clips)


def test_detected_keypoints_have_errors_and_scores(body: Body, poses: torch.Tensor) -> None:
    exact = all_of(synthetic_group(body, poses, noise=0, count=20, seed=7, pictures=False))
    group = detected_group(body, poses, count=20, seed=7, pictures=False)
    detected = all_of(group)
    assert group.keypoints == "as detected"
    assert torch.equal(exact.truth.joints, detected.truth.joints)
    confidence = detected.evidence.confidence
    assert 0.1 < ((confidence > 0) & (confidence < 1)).float().mean() < 0.95


def test_people_know_their_clip_category_and_the_vertical(body: Body) -> None:
    rotvecs = torch.zeros(2, 24, 3)
    rotvecs[:, 16, 2], rotvecs[:, 17, 2] = -1.3, 1.3  # arms hang
    rotvecs[1, 0, 0] = -math.pi / 2  # on the back
    poses = PoseFile(rotvecs, ("up", "down"), ("", "sleeping"))
    group = synthetic_group(body, poses, noise=0, count=8, seed=1, pictures=False)
    batch = all_of(group)
    assert set(zip(group.clips, group.categories, strict=True)) == {
        ("up", "standing"),
        ("down", "sleeping"),
    }
    assert batch.truth.standing is not None
    assert batch.truth.up is not None
    assert batch.truth.standing.tolist() == [clip == "up" for clip in group.clips]
    trunk = batch.truth.joints[:, 12] - batch.truth.joints[:, 0]
    cosine = torch.nn.functional.cosine_similarity(trunk, batch.truth.up)
    assert (cosine[batch.truth.standing] > 0.98).all()
    assert (cosine[~batch.truth.standing].abs() < 0.2).all()
    without = synthetic_group(body, rotvecs, noise=0, count=8, seed=1, pictures=False)
    assert (without.clip(3), without.category(3)) == ("", "")


def test_landmarks_are_simulated_of_the_people(body: Body, poses: torch.Tensor) -> None:
    exact = LandmarkErrors(**dict.fromkeys(vars(LandmarkErrors()), 0.0) | {"flattest": 1.05})
    population = Population(poses=NO_VARIATION, detector=noise_only(0.02))

    def people(errors: LandmarkErrors) -> EvaluationBatch:
        return all_of(
            population_group(
                body, poses, population, keypoints="any", count=3, seed=7, landmarks=errors
            )
        )

    batch, shoulders = people(exact), slice(5, 7)  # of COCO's keypoints and of landmarks
    assert batch.landmarks is not None
    assert batch.truth.keypoints is not None
    torch.testing.assert_close(
        batch.landmarks[:, shoulders, :2], batch.truth.keypoints[:, shoulders]
    )
    joints = batch.truth.joints[:, 16:18]
    across = (joints[:, 0] - joints[:, 1])[:, 0]
    said = (batch.landmarks[:, 5] - batch.landmarks[:, 6])[:, 2]
    assert (across.sign() == said.sign()).all()
    assert torch.equal(people(exact).landmarks, batch.landmarks)
    assert not torch.equal(people(LandmarkErrors()).landmarks, batch.landmarks)


def test_networks_read_the_observed_keypoints(
    fitter: BatchFitter, body: Body, poses: torch.Tensor
) -> None:
    def people(noise: float, *, observed: float) -> EvaluationBatch:
        population = Population(detector=noise_only(noise), look=noise_only(observed))
        return all_of(population_group(body, poses, population, keypoints="any", count=3, seed=7))

    def first_guess(batch: EvaluationBatch) -> torch.Tensor:
        (results,) = fitter.adapt(batch, [named_schedule("paper").limited_to(0)])
        return torch.cat([result.outputs[0].rotations for result in results])

    exact = first_guess(people(0, observed=0.04))
    assert torch.equal(exact, first_guess(people(0.05, observed=0.04)))
    assert not torch.equal(exact, first_guess(people(0, observed=0.05)))
