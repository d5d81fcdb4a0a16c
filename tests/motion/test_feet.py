from dataclasses import replace

import numpy as np
import pytest
from helpers.walks import random_motion
from scipy.spatial.transform import Rotation

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.motion import Motion, foot_contacts, lock_feet, sliding_mm, smooth
from dualhmr.motion.feet import with_ankles_at
from dualhmr_benchmarks.motion.measure import joint_error
from dualhmr_benchmarks.motion.walks import Walk, clap, jittered, walk

TILT = Rotation.from_euler("x", 20, degrees=True).as_matrix()
"""A camera that looks down at the walker."""


@pytest.fixture(scope="module")
def true() -> Motion:
    return walk(Walk(seconds=4, seed=3)).turned(TILT)


@pytest.fixture(scope="module")
def calm(true: Motion) -> Motion:
    return smooth(jittered(true, seed=3))


def test_contacts_of_a_walk_are_those_that_were_made(true: Motion, calm: Motion) -> None:
    contacts = foot_contacts(true)
    angle = np.degrees(np.arccos(min(1.0, float(contacts.up @ TILT @ [0, -1, 0]))))
    assert angle < 1
    assert ((contacts.down.mean(0) > 0.5) & (contacts.down.mean(0) < 0.75)).all()
    assert contacts.height[contacts.down].max() < 0.05
    assert (foot_contacts(calm).down == contacts.down).mean() > 0.95


def test_locked_feet_slide_little_and_the_body_stays(true: Motion, calm: Motion) -> None:
    contacts = foot_contacts(true)
    assert sliding_mm(true, contacts) < 0.3
    assert sliding_mm(calm, contacts) > 10
    locked = lock_feet(calm)
    assert sliding_mm(locked, contacts) < 0.25 * sliding_mm(calm, contacts)
    assert joint_error(locked, true) < joint_error(calm, true) + 2
    upper = [0, JOINT_NAMES.index("spine1"), JOINT_NAMES.index("left_elbow")]
    np.testing.assert_array_equal(locked.rotations[:, upper], calm.rotations[:, upper])
    assert np.abs(np.diff(locked.joints, axis=0)).max() < 0.25


def test_a_walk_without_errors_is_left_as_it_is(true: Motion) -> None:
    assert joint_error(lock_feet(true), true) < 1


def test_somebody_who_stands_is_down_and_somebody_without_ground_is_not() -> None:
    standing = clap(seconds=1)
    assert foot_contacts(standing).down.all()
    assert joint_error(lock_feet(standing), standing) < 0.1
    fall = standing.translation + np.linspace(0, 30, 30)[:, None] * [0, 1, 0]
    falling = standing.changed(translation=fall)
    contacts = foot_contacts(falling)
    assert not contacts.down.any()
    assert np.isnan(sliding_mm(falling, contacts))
    assert joint_error(lock_feet(falling), falling) < 1e-3
    assert foot_contacts(standing[:1]).down.all()


def test_ankles_go_where_they_should_be_and_feet_keep_their_direction() -> None:
    motion = random_motion(30)
    ankle = JOINT_NAMES.index("right_ankle")
    near = motion.joints[:, ankle] + np.random.default_rng(0).normal(0, 0.02, (30, 3))
    moved = with_ankles_at(motion, "right", near)
    hip, leg = (
        motion.joints[:, 2],
        np.linalg.norm(np.diff(motion.rest_joints[[2, 5, 8]], axis=0), axis=1).sum(),
    )
    reached = np.linalg.norm(near - hip, axis=1) < 0.998 * leg
    assert reached.sum() > 20
    error = np.linalg.norm(moved.joints[:, ankle] - near, axis=1)
    assert error[reached].max() < 1e-5
    np.testing.assert_allclose(
        moved.world_rotations[:, ankle], motion.world_rotations[:, ankle], atol=1e-5
    )
    others = [joint for joint in range(24) if joint not in (5, 8, 11)]
    np.testing.assert_allclose(moved.joints[:, others], motion.joints[:, others], atol=1e-6)
    far = with_ankles_at(motion, "right", near + np.array([0, 5, 0]))
    stretched = np.linalg.norm(far.joints[:, ankle] - hip, axis=1)
    np.testing.assert_allclose(stretched, 0.999 * leg, atol=1e-4)


def test_frames_that_are_missing_do_not_look_like_sliding(true: Motion) -> None:
    every_second = true[::2]
    contacts = foot_contacts(every_second)
    assert (contacts.down == foot_contacts(true).down[::2]).mean() > 0.9
    assert sliding_mm(every_second, contacts) < 0.3
    renumbered = replace(every_second, frames=np.arange(len(every_second)), fps=15.0)
    assert sliding_mm(renumbered, contacts) < 0.6
