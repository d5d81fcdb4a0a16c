"""Keypoints of one standing person, in any set: a plausible input for everything that checks it."""

import zlib

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints import COCO_17, KeypointSet

# Metres from the middle between the hips, seen from the front: x to the picture's right, y down.
# The person's left side; the right one mirrors it.
_LEFT = {
    "nose": (0.0, -0.68), "left_eye": (0.03, -0.71), "left_ear": (0.07, -0.69),
    "head_top": (0.0, -0.82), "neck": (0.0, -0.48), "left_shoulder": (0.17, -0.46),
    "left_elbow": (0.27, -0.22), "left_wrist": (0.30, 0.01), "mid_hip": (0.0, 0.0),
    "left_hip": (0.10, 0.0), "left_knee": (0.12, 0.40), "left_ankle": (0.13, 0.80),
    "left_heel": (0.13, 0.84), "left_big_toe": (0.14, 0.90), "left_small_toe": (0.19, 0.89),
}  # fmt: skip
_SPREAD_M = 0.05


def standing_person(
    names: KeypointSet = COCO_17, *, middle: tuple[float, float] = (256, 250), height: float = 400
) -> NDArray[np.float32]:
    """(K, 2) pixels; points of face and hands lie about nose and wrists."""
    points = [_point(name) for name in names.names]
    return (np.array(points) * height / 1.72 + middle).astype(np.float32)


def _point(name: str) -> NDArray[np.float64]:
    side, _, rest = name.partition("_")
    if side == "right":
        return _point(f"left_{rest}") * (-1, 1)
    if name in _LEFT:
        return np.array(_LEFT[name])
    nearest = "left_wrist" if "hand" in name else "nose"
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return _LEFT[nearest] + _SPREAD_M * rng.uniform(-1, 1, 2)
