from types import SimpleNamespace

import numpy as np
import pytest
from helpers.walks import free_body, random_motion
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from dualhmr import Motion
from dualhmr.body.posing import pose_arrays
from dualhmr.motion.quaternions import matrix_to_quaternion, matrix_to_rotvec, without_flips


def test_joints_are_those_of_the_posed_body() -> None:
    motion = random_motion()
    vertices, joints = pose_arrays(
        motion.body, motion.rotations, np.array(motion.each_betas, np.float32)
    )
    place = motion.translation[:, None]
    np.testing.assert_allclose(motion.joints, joints + place, atol=2e-6)
    np.testing.assert_allclose(motion.vertices(slice(1, 3)), (vertices + place)[1:3], atol=1e-6)


def test_a_motion_of_recoveries_is_their_bodies() -> None:
    frames = random_motion(4)
    recoveries = [SimpleNamespace(motion=lambda i=i: frames[i : i + 1]) for i in range(4)]
    motion = Motion.of(recoveries, fps=25, frames=[3, 4, 7, 9])
    np.testing.assert_array_equal(motion.joints, frames.joints)
    assert motion.times.tolist() == [0.12, 0.16, 0.28, 0.36]
    assert Motion.of(recoveries[0]).betas.shape == (1, 10)
    with pytest.raises(ValueError, match="at least one"):
        Motion.of([])


def test_wrong_arrays_are_refused() -> None:
    good = {"rotations": np.tile(np.eye(3), (2, 24, 1, 1)), "betas": np.zeros(10)}
    good |= {"translation": np.zeros((2, 3)), "body": free_body()}  # type: ignore[dict-item]
    bad = {
        "rotations": np.zeros((2, 24, 3)),
        "betas": np.zeros((3, 10)),
        "translation": np.full((2, 3), np.nan),
        "frames": [4, 4],
        "fps": 0.0,
        "focal_length": [1.0],
    }
    for name, value in bad.items():
        with pytest.raises(ValueError, match=name):
            Motion(**(good | {name: value}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one frame"):
        Motion(**(good | {"rotations": np.zeros((0, 24, 3, 3))}))  # type: ignore[arg-type]


def test_missing_frames_are_filled_by_even_turns() -> None:
    motion = random_motion(4)
    holes = Motion.of(
        [SimpleNamespace(motion=lambda i=i: motion[i : i + 1]) for i in range(4)],
        frames=[10, 11, 14, 15],
    )
    full = holes.filled()
    assert full.frames.tolist() == list(range(10, 16))
    assert full.confidence.tolist() == [1, 1, 0, 0, 1, 1]
    np.testing.assert_allclose(full.joints[[0, 1, 4, 5]], motion.joints, atol=2e-6)
    for joint in range(24):
        between = Slerp([0, 3], Rotation.from_matrix(motion.rotations[1:3, joint]))(2)
        np.testing.assert_allclose(full.rotations[3, joint], between.as_matrix(), atol=1e-5)


def test_one_shape_keeps_the_person_where_the_camera_saw_it() -> None:
    """A frame whose body is too large was put too far away by as much."""
    true = random_motion(40)
    rng = np.random.default_rng(0)
    betas = true.betas + rng.normal(0, 0.3, (40, 10))
    shaped = Motion(true.rotations, betas, true.translation, true.body)
    one = shaped.with_one_shape()
    np.testing.assert_allclose(one.betas, np.median(betas, 0), atol=1e-6)

    def seen(motion: Motion) -> NDArray[np.float32]:
        return motion.joints[..., :2] / motion.joints[..., 2:]

    straight = Motion(true.rotations, one.betas, shaped.translation, true.body)
    error = np.abs(seen(one) - seen(shaped)).mean()
    assert error < 0.8 * np.abs(seen(straight) - seen(shaped)).mean()


def test_turning_the_frame_turns_every_point() -> None:
    motion = random_motion()
    turn = Rotation.from_rotvec([0.3, -1.1, 0.4]).as_matrix()
    turned = motion.turned(turn)
    np.testing.assert_allclose(turned.joints, motion.joints @ turn.T, atol=5e-6)
    back = turned.turned(turn.T)
    np.testing.assert_allclose(back.joints, motion.joints, atol=5e-6)


def test_quaternions_and_rotation_vectors_agree_with_scipy() -> None:
    vectors = np.random.default_rng(0).normal(0, 1.2, (500, 3))
    vectors[:3] = [[0, 0, 0], [np.pi, 0, 0], [0, 1e-9, 0]]
    rotations = Rotation.from_rotvec(vectors)
    ours = matrix_to_quaternion(rotations.as_matrix())
    assert (Rotation.from_quat(ours[:, [1, 2, 3, 0]]) * rotations.inv()).magnitude().max() < 1e-7
    again = matrix_to_rotvec(rotations.as_matrix())
    assert (Rotation.from_rotvec(again) * rotations.inv()).magnitude().max() < 1e-7
    assert np.linalg.norm(again, axis=1).max() <= np.pi + 1e-12
    steady = without_flips(ours)
    assert ((steady[1:] * steady[:-1]).sum(-1) >= 0).all()
