import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.pose_limits import is_possible
from dualhmr_training.data.synthetic.pose_prior import (
    TEST_SEED,
    TRAINING_SEED,
    default_pose_prior,
    from_vectors,
    read_pose_prior,
    to_vectors,
    write_pose_prior,
)
from dualhmr_training.validation import held_out_clips


def test_vectors_keep_all_but_the_heading() -> None:
    poses = 0.8 * torch.randn(50, 24, 3, generator=torch.Generator().manual_seed(0))
    poses[0, 0] = torch.tensor([math.pi, 0, 0])  # upside down
    poses[1, 0] = 0
    back = from_vectors(to_vectors(poses))
    torch.testing.assert_close(back[:, 1:], poses[:, 1:])
    heading = rotvec_to_rotmat(back[:, 0]) @ rotvec_to_rotmat(poses[:, 0]).mT
    # What is left of the turn between both is about the vertical.
    up = torch.tensor([0.0, 1.0, 0.0]).expand(50, 3)
    torch.testing.assert_close(heading[:, :, 1], up, atol=2e-4, rtol=0)


def test_samples_are_balanced_possible_and_the_same_again() -> None:
    prior = default_pose_prior()
    poses = prior.sample(300, seed=TEST_SEED)
    counts = Counter(poses.categories)
    assert set(counts) == set(prior.categories)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert max(counts.values()) <= 0.15 * 300
    assert is_possible(poses.rotvecs).all()
    assert poses.rotvecs.isfinite().all()
    again, others = prior.sample(300, seed=TEST_SEED), prior.sample(300, seed=TRAINING_SEED)
    assert torch.equal(again.rotvecs, poses.rotvecs)
    assert not torch.equal(others.rotvecs, poses.rotvecs)


def test_whole_components_are_held_out() -> None:
    poses = default_pose_prior().sample(1500, seed=TRAINING_SEED)
    held_out = held_out_clips(poses)
    assert 1 < len(held_out) < len(set(poses.clips)) / 4


@pytest.mark.parametrize("category", ["standing", "lying"])
def test_people_stand_and_lie_as_they_should(category: str) -> None:
    poses = default_pose_prior().sample(200, seed=0, categories=(category,))
    assert set(poses.categories) == {category}
    upright = rotvec_to_rotmat(poses.rotvecs[:, 0])[:, 1, 1]
    assert upright.median() > 0.95 if category == "standing" else upright.abs().median() < 0.6


def test_an_unknown_category() -> None:
    with pytest.raises(ValueError, match="has no category flying; it has climbing"):
        default_pose_prior().sample(3, seed=0, categories=("flying",))


def test_written_and_read(tmp_path: Path) -> None:
    prior = default_pose_prior()
    write_pose_prior(tmp_path / "prior.npz", prior)
    again = read_pose_prior(tmp_path / "prior.npz")
    assert again.categories == prior.categories
    np.testing.assert_array_equal(again.factors, prior.factors)
    np.testing.assert_array_equal(again.means, prior.means)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"means": None}, "lacks means; is it a pose prior"),
        ({"means": np.zeros((3, 5), np.float16)}, "have other shapes"),
        ({"weights": np.full(1, np.nan, np.float32)}, "have other shapes"),
    ],
)
def test_other_files(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "prior.npz"
    write_pose_prior(path, default_pose_prior())
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message):
        read_pose_prior(path)
