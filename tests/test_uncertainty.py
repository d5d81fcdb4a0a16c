"""Where two opinions of a person differ, and by how many metres."""

import numpy as np
import pytest
from helpers.synthetic_person import IMAGE, synthetic_person

from dualhmr import Recoverer
from dualhmr.body.files import read_body
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.body.posing import pose_arrays, pose_joints
from dualhmr.uncertainty import (
    CALIBRATION,
    joint_uncertainty,
    keypoint_distance_m,
    vertex_uncertainty,
)

RNG = np.random.default_rng(3)
JOINTS = RNG.normal(size=(3, 24, 3)).astype(np.float32)
NO_DISTANCE = np.zeros(3, np.float32)
LEFT_WRIST = 20


def test_two_that_agree_are_certain_wherever_they_are() -> None:
    elsewhere = JOINTS + np.float32([1, -2, 5])
    assert joint_uncertainty(JOINTS, elsewhere, NO_DISTANCE) == pytest.approx(0, abs=2e-6)


def test_metres_of_a_joint_that_is_moved_and_of_keypoints_that_are_missed() -> None:
    other = JOINTS.copy()
    other[1, LEFT_WRIST] += np.float32([0.03, 0, 0.04])
    found = joint_uncertainty(JOINTS, other, NO_DISTANCE)
    expected = np.zeros((3, 24))
    expected[1, LEFT_WRIST] = CALIBRATION * 0.05
    np.testing.assert_allclose(found, expected, atol=1e-6)
    at_five_metres = JOINTS + (np.float32([0, 0, 5]) - JOINTS[:, :1])
    missed = keypoint_distance_m(
        np.float32([0, 10, 20]), at_five_metres, np.full(3, 1000, np.float32)
    )
    np.testing.assert_allclose(missed, [0, 0.05, 0.1], rtol=1e-6)
    more = joint_uncertainty(JOINTS, other, missed)
    np.testing.assert_allclose(more - found, CALIBRATION * missed[:, None] + 0 * found, atol=1e-6)


def test_persons_in_another_order_and_alone() -> None:
    other, missed = JOINTS[:, ::-1], np.float32([0.1, 0, 0.02])
    found = joint_uncertainty(JOINTS, other, missed)
    order = [2, 0, 1]
    again = joint_uncertainty(JOINTS[order], other[order], missed[order])
    np.testing.assert_array_equal(again, found[order])
    alone = joint_uncertainty(JOINTS[1:2], other[1:2], missed[1:2])
    np.testing.assert_array_equal(alone, found[1:2])


def test_vertices_are_as_uncertain_as_the_joint_that_moves_them() -> None:
    body, betas = read_body(), np.zeros((2, 10), np.float32)
    vectors = np.zeros((2, 24, 3))
    vectors[1, LEFT_WRIST] = (0, 0, 0.6)
    rotations = np.stack([rotvec_to_matrix(each) for each in vectors]).astype(np.float32)
    vertices, joints = pose_arrays(body, rotations[:1], betas[:1])
    np.testing.assert_array_equal(pose_joints(body, rotations[:1], betas[:1]), joints)

    def compare(pseudo: int, missed: float) -> np.ndarray:
        return vertex_uncertainty(
            body,
            vertices + np.float32([0, 0, 4]),
            joints + np.float32([0, 0, 4]),
            rotations[[pseudo]],
            betas[:1],
            np.float32([missed]),
        )

    assert compare(0, 0) == pytest.approx(0, abs=2e-6)
    assert compare(0, 0.1) == pytest.approx(CALIBRATION * 0.1, abs=2e-6)
    turned = compare(1, 0)[0]
    hand = body.weights[:, [LEFT_WRIST, LEFT_WRIST + 2]].sum(1) > 0.99
    assert 0.01 < turned[hand].max() < 0.3
    assert turned[body.weights[:, 7] > 0.5] == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize("adaptation", ["torch", "numba", "onnx"])
def test_of_a_recovery_by_each_adaptation(adaptation: str) -> None:
    """The bodies that were not adapted, and who they are compared with: the same by all."""
    if adaptation == "numba":
        pytest.importorskip("numba")
    recoverer, person = Recoverer(adaptation=adaptation), synthetic_person(0)
    (seen,) = recoverer.predict(IMAGE, person.keypoints)
    usual = recoverer.recover(IMAGE, person.keypoints, max_steps=0)
    given = recoverer.recover(IMAGE, person.keypoints, pseudo_mesh=seen.first_guess, max_steps=0)
    missed = keypoint_distance_m(given.reprojection_px[:, 1], given.joints, given.focal_length)
    np.testing.assert_allclose(
        given.uncertainty, np.tile(CALIBRATION * missed[:, None], 24), atol=1e-5
    )
    np.testing.assert_allclose(usual.pseudo_rotations[0], seen.pseudo_mesh.rotations, atol=1e-6)
    np.testing.assert_allclose(usual.pseudo_betas[0], seen.pseudo_mesh.betas, atol=1e-6)
    pseudo = pose_joints(recoverer.body, usual.pseudo_rotations, usual.pseudo_betas)
    expected = joint_uncertainty(usual.joints, pseudo, missed)
    np.testing.assert_allclose(usual.uncertainty, expected, atol=1e-5)
    assert (usual.uncertainty[:, 1:] > given.uncertainty[:, 1:]).all()


def test_a_schedule_without_a_pseudo_mesh_has_one_to_compare_with() -> None:
    recoverer, person = Recoverer(), synthetic_person(1)
    steps = recoverer.recover(IMAGE, person.keypoints, schedule="eft", max_steps=2)
    assert np.isfinite(steps.uncertainty).all()
    assert (steps.uncertainty > 0).all()
    at_vertices = steps.vertex_uncertainty()
    assert at_vertices.shape == steps.vertices.shape[:2]
    # The pelvis, which both share, has the share of the keypoints alone.
    assert at_vertices.min() >= steps.uncertainty[0, 0] - 1e-6
