"""Poses of synthetic people: poses from files, varied at random.

`SeededRandom`, the source of random numbers for all synthetic people, is here too.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.files import atomic_path
from dualhmr.untrusted import read_npz
from dualhmr_training.data.augmentation import mirrored_pose
from dualhmr_training.data.synthetic.motion_files import (
    MOTION_SUFFIXES,
    read_motions,
    within_half_a_turn,
)
from dualhmr_training.data.synthetic.pose_limits import is_possible


class SeededRandom:
    """Random numbers on the CPU from a generator of its own, not from torch's global one."""

    def __init__(self, seed: int) -> None:
        """The same seed gives the same numbers."""
        self._generator = torch.Generator().manual_seed(seed)

    def reseed(self, seed: int) -> None:
        """Restarts from another seed."""
        self._generator.manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(*shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        """Mean 0, standard deviation 1."""
        return torch.randn(*shape, generator=self._generator)

    def happens(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Booleans that are True with the given probability."""
        return self.uniform(*shape) < probability

    def integers(self, below: int, count: int) -> Tensor:
        """(count,) integers from 0 to `below` - 1."""
        return torch.randint(below, (count,), generator=self._generator)


_INT16_UNIT = math.pi / 32767  # radians; files store rotation vectors as 16-bit integers
_ARRAYS = ("axis_angle_i16", "clip")
_CATEGORY = "category"
_TRIES = 2  # after the first
_LARGEST_BYTES = 1 << 32
"""Of both arrays: more than 10 million poses."""


def _joints(*names: str) -> list[int]:
    return [JOINT_NAMES.index(name) for name in names]


_LEGS = _joints(*(f"{s}_{p}" for s in ("left", "right") for p in ("hip", "knee", "ankle", "foot")))
_ARMS = [
    _joints(*(f"{s}_{p}" for p in ("collar", "shoulder", "elbow", "wrist", "hand")))
    for s in ("left", "right")
]
_LEFT_HIP, _RIGHT_HIP, _LEFT_KNEE, _RIGHT_KNEE = _joints(
    "left_hip", "right_hip", "left_knee", "right_knee"
)


@dataclass(frozen=True)
class PoseVariation:
    """How captured poses are varied: probabilities per person, in the order of application."""

    other_legs: float = 0.3
    """Legs from another pose."""
    other_arm: float = 0.25
    """An arm from another pose, left and right independently."""
    sitting: float = 0.15
    """Hips and knees bent."""
    noisy: float = 0.6
    joint_noise: float = 0.12
    """Standard deviation, radians, of the noise on every joint of noisy poses."""
    mirrored: float = 0.5
    checked: bool = False
    """Whether poses that variation makes impossible are varied again, and left as they are in the
    pool where that fails three times."""


NO_VARIATION = PoseVariation(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class PoseFile:
    """Poses: rotation vectors (N, 24, 3), radians, and the clip (N,) that each came from."""

    rotvecs: Tensor
    clips: tuple[str, ...]
    categories: tuple[str, ...] = ()
    """(N,) what people do in each, as the file says; empty texts where it does not."""

    def __post_init__(self) -> None:
        if not self.categories:
            object.__setattr__(self, "categories", ("",) * len(self.clips))
        if not len(self.rotvecs) == len(self.clips) == len(self.categories):
            raise ValueError(
                f"{len(self.rotvecs)} poses, {len(self.clips)} clips, {len(self.categories)} "
                "categories; expected as many of each"
            )

    def of_clips(self, clips: set[str]) -> Tensor:
        """The rotation vectors (M, 24, 3) of `clips`."""
        return self.rotvecs[[clip in clips for clip in self.clips]]

    def select(self, chosen: Sequence[bool]) -> "PoseFile":
        """The poses for which `chosen` (N,) is true."""
        rows = [row for row, is_chosen in enumerate(chosen) if is_chosen]
        return PoseFile(self.rotvecs[rows], *self.names_of(rows))

    def names_of(self, rows: Sequence[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The clips and the categories of some poses."""
        return tuple(self.clips[row] for row in rows), tuple(self.categories[row] for row in rows)


def read_poses(path: str | os.PathLike[str]) -> PoseFile:
    """Poses from a file of ours, a motion file, or a folder of these and its subfolders.

    Ours is an `.npz` with `axis_angle_i16` (N, 24, 3), in pi / 32767 radians, `clip` (N,) and
    maybe `category` (N,). Joint order is SMPL's; joint 0 is the global orientation in a y-up world.
    Others are AMASS's `.npz` and SMPL sequences in a `.pkl`: see
    `dualhmr_training.data.synthetic.motion_files`. There a file is a clip, named by its path, or
    each of its persons is.

    Raises FileNotFoundError, and ValueError if a file is damaged, asks for code or holds poses of
    another layout, or if there are no poses at all.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in MOTION_SUFFIXES)
        names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    elif path.is_file():
        files, names = [path], [path.stem]
    else:
        raise FileNotFoundError(f"no pose file at {path}")
    if not files:
        raise ValueError(f"{path} has no files of poses: expected {', '.join(MOTION_SUFFIXES)}")
    parts = [part for file, name in zip(files, names, strict=True) for part in _read(file, name)]
    if not parts:
        raise ValueError(
            f"{path}: no poses; expected axis_angle_i16 and clip (ours), or poses (F, 72), "
            "(F, 156) or (F, 165) as in AMASS and sequences of SMPL"
        )
    return PoseFile(
        torch.cat([part.rotvecs for part in parts]),
        tuple(clip for part in parts for clip in part.clips),
        tuple(category for part in parts for category in part.categories),
    )


def _read(path: Path, name: str) -> list[PoseFile]:
    """The poses of one file, for every person in it."""
    if path.suffix.lower() not in MOTION_SUFFIXES:
        raise ValueError(f"{path}: poses are read from {', '.join(MOTION_SUFFIXES)}")
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, (*_ARRAYS, _CATEGORY), limit_bytes=_LARGEST_BYTES)
        if not arrays.keys().isdisjoint(_ARRAYS):
            return [_own_poses(path, arrays)]
    return [
        PoseFile(
            torch.from_numpy(rotvecs.astype(np.float32)),
            (name if person is None else f"{name}#{person}",) * len(rotvecs),
        )
        for person, rotvecs in read_motions(path)
    ]


def _own_poses(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> PoseFile:
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; is it a pose file?")
    stored, clips = (arrays[name] for name in _ARRAYS)
    count = stored.shape[0] if stored.ndim else 0
    if stored.dtype != np.int16 or stored.shape != (count, 24, 3) or clips.shape != (count,):
        raise ValueError(
            f"{path}: poses are {stored.dtype} {stored.shape} with clips {clips.shape}, "
            "expected int16 (N, 24, 3) and (N,)"
        )
    categories = arrays.get(_CATEGORY, np.full(count, ""))
    for name, texts in (("clips", clips), ("categories", categories)):
        if texts.dtype.kind != "U" or texts.shape != (count,):
            raise ValueError(
                f"{path}: {name} are {texts.dtype}, expected text; shape {texts.shape} of {count}"
            )
    rotvecs = torch.from_numpy(stored.astype(np.float32) * _INT16_UNIT)
    return PoseFile(rotvecs, tuple(map(str, clips)), tuple(map(str, categories)))


def save_poses(
    path: str | os.PathLike[str],
    rotvecs: npt.ArrayLike,
    clips: Sequence[str],
    categories: Sequence[str] | None = None,
) -> None:
    """Writes rotation vectors (N, 24, 3), radians, and the clip of each as `read_poses` reads them.

    `categories` say what people do in each. Vectors longer than pi, which 16 bits cannot hold,
    become shorter ones of the same rotation. Raises ValueError for other shapes and for numbers
    that are not finite.
    """
    vectors = np.asarray(rotvecs, dtype=np.float64)
    if vectors.shape != (len(clips), 24, 3) or not np.isfinite(vectors).all():
        raise ValueError(
            f"rotation vectors are {vectors.shape}, expected finite ({len(clips)}, 24, 3)"
        )
    if categories is not None and len(categories) != len(clips):
        raise ValueError(f"{len(categories)} categories of {len(clips)} poses")
    arrays: dict[str, Any] = {
        "axis_angle_i16": np.round(within_half_a_turn(vectors) / _INT16_UNIT).astype(np.int16),
        "clip": np.array(clips, str),
    }
    if categories is not None:
        arrays[_CATEGORY] = np.array(categories, str)
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def sample_poses(pool: Tensor, count: int, variation: PoseVariation, rng: SeededRandom) -> Tensor:
    """`count` varied poses from the rotation vectors `pool` (M, 24, 3) -> (count, 24, 3).

    Raises ValueError for an empty pool.
    """
    return varied_poses(pool, draw_rows(pool, count, rng), variation, rng)


def draw_rows(pool: Tensor, count: int, rng: SeededRandom) -> Tensor:
    """Indices (count,) of poses of the pool, to vary. Raises ValueError for an empty pool."""
    if not len(pool):
        raise ValueError("there are no poses to draw from; do the chosen clips exist?")
    return rng.integers(len(pool), count)


def varied_poses(pool: Tensor, rows: Tensor, variation: PoseVariation, rng: SeededRandom) -> Tensor:
    """The poses (N, 24, 3) of `rows` (N,), varied."""
    poses = _varied(pool, rows, variation, rng)
    if not variation.checked:
        return poses
    for _ in range(_TRIES):
        again = (~is_possible(poses)).nonzero()[:, 0]
        if not len(again):
            return poses
        poses[again] = _varied(pool, rows[again], variation, rng)
    again = (~is_possible(poses)).nonzero()[:, 0]
    poses[again] = pool[rows[again]]
    return poses


def _varied(pool: Tensor, rows: Tensor, variation: PoseVariation, rng: SeededRandom) -> Tensor:
    poses, count = pool[rows].clone(), len(rows)
    for joints, probability in (
        (_LEGS, variation.other_legs),
        (_ARMS[0], variation.other_arm),
        (_ARMS[1], variation.other_arm),
    ):
        other = pool[rng.integers(len(pool), count)]
        _replace(poses, joints, other[:, joints], rng.happens(probability, count))
    _replace(poses, _LEGS, _sitting_legs(poses, rng), rng.happens(variation.sitting, count))
    noisy = rng.happens(variation.noisy, count)[:, None, None]
    poses = poses + rng.normal(*poses.shape) * variation.joint_noise * noisy
    mirrored = rng.happens(variation.mirrored, count)[:, None, None]
    return torch.where(mirrored, mirrored_pose(poses), poses)


def _replace(poses: Tensor, joints: list[int], by: Tensor, where: Tensor) -> None:
    poses[:, joints] = torch.where(where[:, None, None], by, poses[:, joints])


def _sitting_legs(poses: Tensor, rng: SeededRandom) -> Tensor:
    """Legs (N, 8, 3) bent at hips and knees, mostly both alike: sitting, squatting."""
    count = len(poses)
    legs = poses * 0.3  # most of the captured pose of the legs is replaced
    hips = _alike_pair(0.6 + 1.3 * rng.uniform(count, 2), 0.15, rng)
    knees = _alike_pair(0.3 + 1.7 * rng.uniform(count, 2), 0.2, rng)
    spread = 0.5 * rng.uniform(count)
    # About x, hips bend by negative angles and knees by positive ones; about z, legs open.
    for side, (hip, knee) in enumerate(((_LEFT_HIP, _LEFT_KNEE), (_RIGHT_HIP, _RIGHT_KNEE))):
        legs[:, hip, 0] -= hips[:, side]
        legs[:, hip, 2] += spread if side == 0 else -spread
        legs[:, knee, 0] += knees[:, side]
    return legs[:, _LEGS]


def _alike_pair(angles: Tensor, difference: float, rng: SeededRandom) -> Tensor:
    """Angles (N, 2); with probability 0.7 the second is the first plus a small difference."""
    count = len(angles)
    alike = angles[:, 0] + difference * rng.normal(count)
    second = torch.where(rng.happens(0.7, count), alike, angles[:, 1])
    return torch.stack([angles[:, 0], second], dim=1)
