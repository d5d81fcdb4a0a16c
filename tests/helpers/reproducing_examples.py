"""The smallest reproduction: made-up poses, tiny networks, few people to validate on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dualhmr.cli import main
from dualhmr_benchmarks.claims.experiments.recipes import BUDGETS
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_training import synthetic_training
from dualhmr_training.data.synthetic.poses import save_poses

TRAINING = {"dance": 7, "climb": 4}
"""More than one clip of each kind, so that some are held out and some are left."""
TEST = {"dance_test": 3, "climb_test": 2}
_POSES_PER_CLIP = 3


def write_poses(path: Path, clips: Mapping[str, int], *, seed: int = 0) -> Path:
    """Small rotations of every joint, in so many clips of every kind."""
    names = [
        f"{kind}_{number:02}"
        for kind, count in clips.items()
        for number in range(count)
        for _ in range(_POSES_PER_CLIP)
    ]
    generator = torch.Generator().manual_seed(seed)
    rotvecs = 0.2 * torch.randn(len(names), 24, 3, generator=generator)
    save_poses(path, rotvecs, names)
    return path


def tiny_setting(folder: Path, *, seeds: tuple[int, ...] = (1,)) -> Setting:
    """Everything in `folder`."""
    return Setting(
        BUDGETS["tiny"],
        poses=write_poses(folder / "poses.npz", TRAINING),
        test_poses=write_poses(folder / "test_poses.npz", TEST, seed=1),
        cache=folder / "cache",
        seeds=seeds,
    )


def reproduce_command(folder: Path, *arguments: str) -> int:
    """`dualhmr reproduce ARGUMENTS` on the files of `tiny_setting`, into `folder`/out."""
    return main(
        ["reproduce", *arguments, "--budget=tiny", f"--poses={folder / 'poses.npz'}",
         f"--test-poses={folder / 'test_poses.npz'}", f"--out={folder / 'out'}",
         f"--cache={folder / 'cache'}"]
    )  # fmt: skip


@contextmanager
def few_to_validate_on() -> Iterator[None]:
    """Trainings of a second or less, whose curves nobody looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_training, "VALIDATION_PEOPLE", 10)
        yield


def written(folder: Path) -> dict[str, int]:
    """When each file below was written last, in nanoseconds."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def says_nothing(message: str) -> None:
    """Takes no notice of progress."""
