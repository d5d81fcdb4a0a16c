from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bundle import MANIFEST

from dualhmr import Recoverer
from dualhmr.body import keypoint_regressor, skin
from dualhmr.keypoints import COCO_17
from dualhmr.manifest import NetworkSpec
from dualhmr_training.evaluation.subjects import ComparedJoints, Subject
from dualhmr_training.evaluation.synthetic import (
    check_reads_no_image,
    read_pool,
    synthetic_subjects,
)
from dualhmr_training.held_out import held_out_clips
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.people import PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, read_poses


def test_a_subject_is_what_a_user_would_have(subjects: list[Subject]) -> None:
    assert len(subjects) == 3
    for subject in subjects:
        assert subject.keypoints.shape == (17, 3)
        assert subject.keypoints.dtype == np.float32
        assert subject.keypoint_set is COCO_17
        assert subject.truth.joints.shape == (24, 3)


def test_noise_is_all_that_a_level_changes(
    recoverer: Recoverer, poses: torch.Tensor, joints: ComparedJoints, subjects: list[Subject]
) -> None:
    exact = list(synthetic_subjects(recoverer.body, poses, joints, noise=0, count=3, seed=7))
    for one, other in zip(exact, subjects, strict=True):
        assert one.truth.keypoints is not None
        assert other.truth.keypoints is not None
        true = one.truth.keypoints.numpy()
        np.testing.assert_allclose(one.keypoints[:, :2], true, rtol=0, atol=1e-2)
        # The box follows the noise, so the way back from the crop rounds otherwise.
        np.testing.assert_allclose(other.truth.keypoints, true, rtol=0, atol=1e-2)
        assert torch.equal(one.truth.joints, other.truth.joints)
        size = (true.max(0) - true.min(0)).max()
        far = np.abs(other.keypoints[:, :2] - true).max() / size
        assert 0.02 < far < 0.1


def test_the_truth_is_seen_where_the_keypoints_are(
    recoverer: Recoverer, subjects: list[Subject]
) -> None:
    body = recoverer.body
    points = keypoint_regressor(body, COCO_17)
    for subject in subjects:
        assert subject.truth.vertices is not None
        assert subject.truth.keypoints is not None
        x, y, z = points.from_mesh(subject.truth.vertices, subject.truth.joints).double().numpy().T
        u, v = (subject.truth.keypoints.double().numpy().T - 1000) / 1000
        # u (z + tz) = x + tx and v (z + tz) = y + ty: linear in where the person stands.
        zeros, ones = np.zeros(17), np.ones(17)
        matrix = np.concatenate([np.stack([ones, zeros, -u], 1), np.stack([zeros, ones, -v], 1)])
        place = np.linalg.lstsq(matrix, np.concatenate([u * z - x, v * z - y]), rcond=None)[0]
        np.testing.assert_allclose((x + place[0]) / (z + place[2]), u, rtol=0, atol=1e-4)
        np.testing.assert_allclose((y + place[1]) / (z + place[2]), v, rtol=0, atol=1e-4)


def test_the_truth_is_in_the_frame_of_a_recovery(
    recoverer: Recoverer, poses: torch.Tensor, subjects: list[Subject]
) -> None:
    population = Population(poses=NO_VARIATION, detector=noise_only(0.02))
    people = PeopleSampler(recoverer.body, poses, population, seed=7).sample(3)
    for person, subject in enumerate(subjects):
        one = slice(person, person + 1)
        expected = skin(recoverer.body, people.rotations[one], people.betas[one])
        torch.testing.assert_close(subject.truth.joints, expected.joints[0])
        torch.testing.assert_close(subject.truth.vertices, expected.vertices[0])


def test_held_out_poses_are_those_that_training_leaves_out(pose_file: Path) -> None:
    poses = read_poses(pose_file)
    assert torch.equal(read_pool(pose_file, held_out=False), poses.rotvecs)
    held_out = read_pool(pose_file, held_out=True)
    assert torch.equal(held_out, poses.of_clips(held_out_clips(poses)))
    assert 0 < len(held_out) < len(poses.rotvecs)


def test_networks_that_read_the_image_are_refused(recoverer: Recoverer) -> None:
    check_reads_no_image(recoverer.bundle)
    sees: NetworkSpec = replace(MANIFEST.auxiliary, reads=("image", "box_info"))
    manifest = replace(recoverer.bundle.manifest, auxiliary=sees)
    with pytest.raises(ValueError, match="read the image, and synthetic people have none"):
        check_reads_no_image(replace(recoverer.bundle, manifest=manifest))
