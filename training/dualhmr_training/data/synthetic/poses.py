"""Poses of synthetic people: captured poses from a file, varied at random.

`SeededRandom`, the source of random numbers for all synthetic people, is here too.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.files import atomic_path
from dualhmr.untrusted import read_npz
from dualhmr_training.data.augmentation import mirrored_pose


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


NO_VARIATION = PoseVariation(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class PoseFile:
    """Captured poses: rotation vectors (N, 24, 3), radians, and the clip (N,) each came from."""

    rotvecs: Tensor
    clips: tuple[str, ...]

    def of_clips(self, clips: set[str]) -> Tensor:
        """The rotation vectors (M, 24, 3) of `clips`."""
        return self.rotvecs[[clip in clips for clip in self.clips]]


def read_poses(path: str | os.PathLike[str]) -> PoseFile:
    """Reads an `.npz` with `axis_angle_i16` (N, 24, 3), in pi / 32767 radians, and `clip` (N,).

    Joint order is SMPL's; joint 0 is the global orientation in a y-up world. Raises
    FileNotFoundError, and ValueError if it is damaged, no `.npz` file or has other arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no pose file at {path}")
    arrays = read_npz(path, _ARRAYS, limit_bytes=_LARGEST_BYTES)
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
    if clips.dtype.kind != "U":
        raise ValueError(f"{path}: clips are {clips.dtype}, expected text")
    rotvecs = torch.from_numpy(stored.astype(np.float32) * _INT16_UNIT)
    return PoseFile(rotvecs, tuple(str(clip) for clip in clips))


def save_poses(path: str | os.PathLike[str], rotvecs: npt.ArrayLike, clips: Sequence[str]) -> None:
    """Writes rotation vectors (N, 24, 3), radians, and the clip of each as `read_poses` reads them.

    Vectors longer than pi, which 16 bits cannot hold, become shorter ones of the same rotation.
    Raises ValueError for other shapes and for numbers that are not finite.
    """
    vectors = np.asarray(rotvecs, dtype=np.float64)
    if vectors.shape != (len(clips), 24, 3) or not np.isfinite(vectors).all():
        raise ValueError(
            f"rotation vectors are {vectors.shape}, expected finite ({len(clips)}, 24, 3)"
        )
    angles = np.linalg.norm(vectors, axis=-1, keepdims=True)
    turns = np.round(angles / (2 * np.pi))
    vectors = vectors * (1 - 2 * np.pi * turns / np.where(turns > 0, angles, 1))
    stored = np.round(vectors / _INT16_UNIT).astype(np.int16)
    with atomic_path(path) as temporary:
        np.savez(temporary, **dict(zip(_ARRAYS, (stored, np.array(clips, str)), strict=True)))


def sample_poses(pool: Tensor, count: int, variation: PoseVariation, rng: SeededRandom) -> Tensor:
    """`count` varied poses from the rotation vectors `pool` (M, 24, 3) -> (count, 24, 3).

    Raises ValueError for an empty pool.
    """
    if not len(pool):
        raise ValueError("there are no poses to draw from; do the chosen clips exist?")
    poses = pool[rng.integers(len(pool), count)].clone()
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
