import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr_training.data.synthetic.categories import (
    balanced,
    capped_shares,
    pose_categories,
    with_categories,
)
from dualhmr_training.data.synthetic.poses import PoseFile, read_poses


def pose(**joints: tuple[float, float, float]) -> torch.Tensor:
    """One pose with hanging arms, from degrees of some joints."""
    rotvecs = torch.zeros(1, 24, 3)
    arms = {"left_shoulder": (0.0, 0.0, -75.0), "right_shoulder": (0.0, 0.0, 75.0)}
    for name, degrees in (arms | joints).items():
        rotvecs[0, JOINT_NAMES.index(name)] = torch.tensor(degrees) * math.pi / 180
    return rotvecs


def both(part: str, degrees: float) -> dict[str, tuple[float, float, float]]:
    return {f"{side}_{part}": (degrees, 0.0, 0.0) for side in ("left", "right")}


POSES = {
    "standing": pose(),
    "lying": pose(pelvis=(-90, 0, 0)),
    "gymnastics": pose(pelvis=(180, 0, 0)),
    "sitting_chair": pose(**both("hip", -85), **both("knee", 85)),
    "sitting_floor": pose(**both("hip", -90)),
    "kneeling": pose(**both("knee", 90)),
    "squatting": pose(**both("hip", -100), **both("knee", 130)),
    "walking": pose(left_hip=(-25, 0, 0), right_hip=(25, 0, 0), right_knee=(20, 0, 0)),
    "standing_work": pose(spine1=(40, 0, 0), spine2=(20, 0, 0), **both("hip", -20)),
}


@pytest.mark.parametrize("category", list(POSES))
def test_simple_poses(category: str) -> None:
    assert pose_categories(POSES[category]) == (category,)
    turned = POSES[category].clone()
    if not turned[0, 0].any():
        turned[0, 0, 1] = 2.0
        assert pose_categories(turned) == (category,)


def test_what_a_file_says_counts() -> None:
    poses = PoseFile(torch.cat([POSES["lying"]] * 2), ("a", "b"), ("", "yoga"))
    assert with_categories(poses).categories == ("lying", "yoga")


@pytest.mark.parametrize("largest", [0.15, 0.3, 0.6])
def test_shares_are_capped_and_in_proportion(largest: float) -> None:
    counts = {"a": 1000, "b": 300, "c": 20, "d": 10, "e": 8, "f": 7, "g": 6, "h": 100}
    shares = capped_shares(counts, largest)
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares.values()) <= largest + 1e-9
    small = [name for name in counts if shares[name] < largest - 1e-9]
    assert len({round(shares[name] / counts[name], 9) for name in small}) == 1


def test_with_few_categories_all_are_equal() -> None:
    assert capped_shares({"a": 9, "b": 1}, 0.15) == {"a": 0.5, "b": 0.5}
    with pytest.raises(ValueError, match="largest share is 0, expected"):
        capped_shares({"a": 1}, 0)


def test_no_category_dominates_a_balanced_file() -> None:
    names = [f"category {i}" for i in range(8) for _ in range(5 + 40 * i * i)]
    poses = PoseFile(
        torch.arange(len(names)).float()[:, None, None].expand(-1, 24, 3),
        tuple(names),
        tuple(names),
    )
    kept = balanced(poses, 0.2)
    counts = Counter(kept.categories)
    assert set(counts) == set(names)
    assert max(counts.values()) / len(kept.clips) <= 0.2 + 0.01
    # No pose is there twice, and clips go with their poses.
    assert len(kept.rotvecs[:, 0, 0].unique()) == len(kept.clips)
    assert tuple(names[int(row)] for row in kept.rotvecs[:, 0, 0]) == kept.clips
    assert balanced(poses, 1.0).clips == poses.clips


def test_captured_walks_and_people_on_the_floor(shared_folder: Path) -> None:
    poses = read_poses(shared_folder / "poses" / "more" / "test.npz")
    found = pose_categories(poses.rotvecs)
    for category in ("sitting_floor", "lying"):
        own = [f for f, given in zip(found, poses.categories, strict=True) if given == category]
        assert own.count(category) > 0.9 * len(own)
