import math
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr_training.data.augmentation import mirrored_pose
from dualhmr_training.data.synthetic.pose_limits import (
    _segment_distance,
    is_possible,
    limb_overlap_m,
    limit_excess,
)
from dualhmr_training.data.synthetic.poses import read_poses


def pose(**joints: tuple[float, float, float]) -> torch.Tensor:
    """One pose, from degrees of some joints."""
    rotvecs = torch.zeros(1, 24, 3)
    for name, degrees in joints.items():
        rotvecs[0, JOINT_NAMES.index(name)] = torch.tensor(degrees) * math.pi / 180
    return rotvecs


def test_excess_is_in_degrees_beyond_the_limit() -> None:
    assert limit_excess(torch.zeros(1, 24, 3)) == 0
    # A knee that bends forwards, and further than it can.
    torch.testing.assert_close(limit_excess(pose(left_knee=(-60, 0, 0))), torch.tensor([45.0]))
    torch.testing.assert_close(limit_excess(pose(right_knee=(170, 0, 0))), torch.tensor([10.0]))
    assert limit_excess(pose(left_knee=(120, 0, 0))) == 0
    assert not is_possible(pose(right_elbow=(0, -60, 0)))
    assert is_possible(pose(right_elbow=(0, 60, 0)))


def test_left_and_right_have_the_same_limits() -> None:
    poses = 1.2 * torch.randn(100, 24, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(limit_excess(mirrored_pose(poses)), limit_excess(poses))


def test_arms_inside_the_trunk_overlap_and_arms_out_do_not() -> None:
    assert limb_overlap_m(torch.zeros(1, 24, 3)) == 0
    through = pose(left_shoulder=(0, 0, -90), left_elbow=(0, 0, -95))
    assert limb_overlap_m(through) > 0.06
    assert not is_possible(through)


def test_distance_of_segments_is_the_least_of_all_points() -> None:
    generator = torch.Generator().manual_seed(1)
    ends = torch.randn(4, 20, 3, generator=generator)
    ends[3, 0] = ends[2, 0] + 2 * (ends[1, 0] - ends[0, 0])  # parallel
    found = _segment_distance(*ends).numpy()
    a, b, c, d = ends.double().numpy()
    for row in range(20):

        def distance(s: np.ndarray, row: int = row) -> float:
            first = a[row] + s[0] * (b[row] - a[row])
            return float(np.linalg.norm(first - c[row] - s[1] * (d[row] - c[row])))

        starts = [(x, y) for x in (0.1, 0.9) for y in (0.1, 0.9)]
        least = min(minimize(distance, start, bounds=[(0, 1)] * 2).fun for start in starts)
        assert found[row] <= least + 1e-3
        assert found[row] >= least - 1e-3


def test_captured_poses_are_possible(shared_folder: Path) -> None:
    poses = read_poses(shared_folder / "poses" / "cmu_test.npz").rotvecs[::3]
    assert is_possible(poses).float().mean() > 0.9
