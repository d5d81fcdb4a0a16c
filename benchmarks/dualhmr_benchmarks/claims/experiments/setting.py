"""What all experiments of a run share: budget, pose files, cache; files that are read once."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dualhmr.body.model import Body, load_body
from dualhmr.files import sha256
from dualhmr_benchmarks.claims.experiments.populations import NARROW, training_poses
from dualhmr_benchmarks.claims.experiments.recipes import Budget
from dualhmr_training.data.synthetic.pose_prior import TEST_SEED, TRAINING_SEED, prior_poses
from dualhmr_training.data.synthetic.poses import read_poses, save_poses
from dualhmr_training.training_folder import tensors_sha256


@dataclass(frozen=True)
class Setting:
    """A budget, the poses, and where results are kept; the body is the free one."""

    budget: Budget
    poses: Path
    """Captured poses to train on."""
    test_poses: Path
    """Captured poses of other clips, to test on."""
    cache: Path
    """Folder of trainings, rates and evaluations, which all tables share."""
    seeds: tuple[int, ...] = (1, 2, 3)
    jobs: int = 1
    """Trainings and evaluations at a time, each on one thread."""
    device: str = "cpu"
    """Of trainings."""

    def check(self) -> None:
        """Raises FileNotFoundError or ValueError for what would fail after hours of work."""
        train, test = (read_poses(path) for path in (self.poses, self.test_poses))
        shared = sorted(set(train.clips) & set(test.clips))
        if shared:
            raise ValueError(
                f"{len(shared)} clips are in both {self.poses} and {self.test_poses}, such as "
                f"{shared[0]!r}; test on clips that networks were not trained on"
            )
        training_poses(train, NARROW)
        if not self.seeds:
            raise ValueError("there are no seeds; give --seeds 1 or more")


def pose_files(poses: Path | None, test_poses: Path | None, cache: Path) -> tuple[Path, Path]:
    """Files of poses to train and to test on: those given, or samples of the package's pose prior.

    Samples, and the poses of folders, are written into `cache`, once. Raises ValueError where one
    of the two is given and the other is not, and as `read_poses` does.
    """
    if (poses is None) != (test_poses is None):
        raise ValueError("give both --poses and --test-poses, or neither to use the pose prior")
    written = []
    for path, seed in ((poses, TRAINING_SEED), (test_poses, TEST_SEED)):
        if path is not None and not path.is_dir():
            written.append(path)
            continue
        sampled = prior_poses(seed) if path is None else read_poses(path)
        # Testing refuses clips of training. Those of the prior have the same names.
        prefix = "test_" if path is None and seed == TEST_SEED else ""
        clips = [prefix + clip for clip in sampled.clips]
        # The same poses are the same file, which cached trainings are found by.
        out = cache / f"{prefix}poses_{tensors_sha256(sampled.rotvecs)[:12]}.npz"
        if not out.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            save_poses(out, sampled.rotvecs, clips, sampled.categories)
        written.append(out)
    return written[0], written[1]


# Each is read once in a process.
poses_of = lru_cache(maxsize=4)(read_poses)
file_sha256 = lru_cache(maxsize=4)(sha256)
free_body: Callable[[], Body] = lru_cache(maxsize=1)(load_body)


def key_of(**facts: object) -> str:
    """A name of 16 hex digits for plain values: the same values, the same name."""
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
