"""The poses that the prior is learnt from: cleaned, in coarse categories, as plain vectors.

A pose is a vector of 72 numbers: up, as a unit vector in the frame of the pelvis, and the rotation
vectors of the 23 other joints. The heading is left out: every heading is as likely.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dualhmr_training.data.augmentation import mirrored_pose
from dualhmr_training.data.synthetic.categories import pose_categories
from dualhmr_training.data.synthetic.pose_limits import limit_excess
from dualhmr_training.data.synthetic.pose_prior import to_vectors
from dualhmr_training.data.synthetic.poses import PoseFile, read_poses

Vectors = npt.NDArray[np.float64]

_MERGED = {
    "running": "walking",
    "gesturing": "standing",
    "martial": "sport",
    "jumping": "sport",
    "riding": "sitting_chair",
}
_BY_CLIP = {"salsa": "dance", "indian": "dance", "martial": "sport", "walk": "walking"}
"""Of clips in files without categories, by the first word of their names."""
_MIXED = "mix"
"""Halves of two poses: their category is found by geometry."""
_BROKEN_DEGREES = 20.0
"""Captured poses that are further beyond a joint's limit are faults of the capture."""
_HELD_OUT_EVERY = 10


class Captured(NamedTuple):
    """Poses (N, 72) as vectors, with the category and the clip (N,) of each."""

    vectors: Vectors
    categories: npt.NDArray[np.str_]
    clips: npt.NDArray[np.str_]

    def only(self, rows: npt.NDArray[np.bool_]) -> "Captured":
        """Some of them."""
        return Captured(self.vectors[rows], self.categories[rows], self.clips[rows])


def read_captured(paths: list[Path]) -> Captured:
    """All poses of the files and their mirror images, without those that are broken."""
    parts = []
    for path in paths:
        poses = read_poses(path)
        rotvecs = torch.cat([poses.rotvecs, mirrored_pose(poses.rotvecs)])
        whole = limit_excess(rotvecs) <= _BROKEN_DEGREES
        names = np.array(_categories(poses) * 2)
        part = Captured(to_vectors(rotvecs).numpy(), names, np.array(poses.clips * 2))
        parts.append(part.only(whole.numpy()))
    return Captured(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.categories for part in parts]),
        np.concatenate([part.clips for part in parts]),
    )


def _categories(poses: PoseFile) -> list[str]:
    by_geometry = pose_categories(poses.rotvecs)
    names = []
    for given, clip, found in zip(poses.categories, poses.clips, by_geometry, strict=True):
        name = given or _BY_CLIP.get(clip.split("_")[0], found)
        names.append(found if name == _MIXED else _MERGED.get(name, name))
    return names


def held_out(captured: Captured) -> npt.NDArray[np.bool_]:
    """Poses of every tenth clip of each category, by name: to choose a kind of prior on."""
    chosen: set[tuple[str, str]] = set()
    for category in np.unique(captured.categories):
        clips = np.unique(captured.clips[captured.categories == category])
        chosen |= {(category, clip) for clip in clips[:: min(_HELD_OUT_EVERY, len(clips))]}
    pairs = zip(captured.categories, captured.clips, strict=True)
    return np.array([pair in chosen for pair in pairs])
