"""Made walks and claps; that they are what they say is tested too."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.walks import random_motion
from scipy.spatial.transform import Rotation

from dualhmr import Motion
from dualhmr.keypoints import BODY_25
from dualhmr.motion import LiveSmoother, SmoothingOptions, smooth
from dualhmr.motion.one_euro import OneEuroOptions, filtered
from dualhmr_benchmarks.motion.measure import acceleration_error, wrist_distance
from dualhmr_benchmarks.motion.walks import Jitter, Walk, clap, jittered, walk

SLOW = OneEuroOptions(cutoff_hz=1.0, speed_factor=0.0)


def test_smoothing_steadies_a_walk_and_keeps_it_in_place() -> None:
    true = walk(Walk(seconds=3, seed=5))
    seen = jittered(true, seed=5)
    calm = smooth(seen)
    assert acceleration_error(calm, true) < 0.3 * acceleration_error(seen, true)
    errors = [np.linalg.norm(m.joints - true.joints, axis=-1).mean() for m in (calm, seen)]
    assert errors[0] < 0.8 * errors[1]
    assert calm.betas.shape == (10,)


@pytest.mark.parametrize("hertz", [2.0, 2.5, 3.0])
def test_a_clap_stays_a_clap(hertz: float) -> None:
    hands = clap(hertz=hertz, seconds=2)
    assert wrist_distance(hands).min() < 0.05
    assert wrist_distance(hands).max() > 0.5
    error = np.abs(wrist_distance(smooth(hands)) - wrist_distance(hands))
    assert error.max() < 0.01


def test_failed_frames_are_replaced_and_quick_movements_are_not() -> None:
    hands = clap(hertz=3, seconds=2, sharp=True)
    wrong = np.array(hands.rotations)
    wrong[20] = Rotation.random(24, random_state=0).as_matrix()
    wrong[40:42, 18] = Rotation.random(random_state=1).as_matrix()
    nothing = OneEuroOptions(cutoff_hz=1e6, speed_factor=0)
    only_outliers = SmoothingOptions(rotations=nothing, direction=nothing, distance=nothing)
    repaired = smooth(hands.changed(rotations=wrong), only_outliers)
    changed = np.abs(repaired.joints - hands.joints).max((1, 2))
    assert np.delete(changed, [20, 40, 41]).max() < 1e-4
    assert changed[[20, 40, 41]].max() < 0.25  # where the neighbours are; it is quick there


def test_a_live_filter_is_late_and_the_other_is_not() -> None:
    """A constant turn: the filter of both ways is ahead as much as it is late."""
    times = np.arange(200) / 30
    angles = np.stack([0 * times, 1.3 * times, 0 * times], axis=1)
    turns = Rotation.from_rotvec(angles).as_matrix()[:, None]
    calm = filtered(turns, times, SLOW, rotations=True)[:, 0]
    error = (Rotation.from_matrix(calm) * Rotation.from_rotvec(angles).inv()).magnitude()
    assert error[60:140].max() < 1e-3
    live = LiveSmoother(SmoothingOptions(rotations=SLOW))
    motion = replace(random_motion(1), fps=30.0)
    lag = []
    for frame in range(60):
        rotations = np.array(motion.rotations)
        rotations[0, 0] = turns[frame, 0]
        now = replace(motion.changed(rotations=rotations), frames=np.array([frame]))
        lag.append(live(now).rotations[0, 0])
    late = Rotation.from_matrix(np.array(lag)) * Rotation.from_rotvec(angles[:60]).inv()
    # A low-pass filter of 1 Hz is 1 / (2 pi) s late.
    assert late.magnitude()[-1] == pytest.approx(1.3 / (2 * np.pi), rel=0.05)
    with pytest.raises(ValueError, match="one frame later"):
        live(now)


def test_turning_the_camera_turns_the_result() -> None:
    """Rotations are filtered as rotations: no frame is special."""
    motion = jittered(walk(Walk(seconds=1)), Jitter(outliers=0))
    turn = Rotation.from_rotvec([0.4, 2.9, -0.7]).as_matrix()
    first, second = smooth(motion), smooth(motion.turned(turn))
    np.testing.assert_allclose(turn @ first.rotations[:, 0], second.rotations[:, 0], atol=1e-4)
    np.testing.assert_allclose(first.rotations[:, 1:], second.rotations[:, 1:], atol=1e-4)


def test_short_motions_and_gaps_are_fine() -> None:
    for count in (1, 2, 5):
        assert len(smooth(random_motion(count))) == count
    motion = random_motion(5)
    holes = Motion(
        motion.rotations,
        motion.betas,
        motion.translation,
        motion.body,
        frames=np.array([0, 1, 2, 40, 41]),
    )
    assert np.isfinite(smooth(holes).joints).all()


def test_made_walkers_stand_on_still_feet() -> None:
    points = walk(Walk(seconds=3)).points(BODY_25)
    for name in ("left_heel", "right_big_toe"):
        foot = points[:, BODY_25.index(name)]
        steps = np.linalg.norm(np.diff(foot, axis=0), axis=-1)
        assert 0.55 < (steps < 4e-4).mean() < 0.7
        assert steps.max() > 0.1
