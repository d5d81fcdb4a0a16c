"""What a 2D keypoint detector gets wrong: noise, outliers, swaps, and keypoints it does not see."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.keypoints import BODY_23
from dualhmr_training.data.synthetic.poses import SeededRandom

_MIN_DETECTED = 6
_FEET = slice(17, 23)


@dataclass(frozen=True)
class DetectorErrors:
    """Levels are fractions of the person's size in the image; the rest are probabilities."""

    max_noise: float = 0.045
    """Each person has a level of Gaussian noise between zero and this."""
    fixed_noise: float | None = None
    """One level for everybody instead."""
    outlier: float = 0.015
    outlier_noise: float = 0.12
    swap: float = 0.02
    """Probability that a pair of limbs is taken for each other."""
    dropout: float = 0.35
    """Seven persons in ten lose keypoints at a rate between zero and this."""
    without_feet: float = 0.5
    """Share of persons from detectors that know no toes and heels."""
    cut_legs: float = 0.19
    """Share of persons hidden from the ankles, knees or hips down."""
    hides_face: bool = True
    """Whether faces that look away are missed."""


def noise_only(level: float) -> DetectorErrors:
    """A detector that sees what of COCO's 17 is in the image, with Gaussian noise of one level."""
    return DetectorErrors(
        fixed_noise=level,
        outlier=0,
        swap=0,
        dropout=0,
        without_feet=1,
        cut_legs=0,
        hides_face=False,
    )


def _pairs(*parts: str) -> list[tuple[int, int]]:
    return [(BODY_23.index(f"left_{part}"), BODY_23.index(f"right_{part}")) for part in parts]


_ARM_PAIRS = _pairs("elbow", "wrist")
_LEG_PAIRS = _pairs("knee", "ankle", "big_toe", "small_toe", "heel")
_NOSE, _LEFT_EYE, _RIGHT_EYE, _LEFT_EAR, _RIGHT_EAR = (
    BODY_23.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
)
_BELOW = [
    [BODY_23.index(f"{side}_{part}") for side in ("left", "right") for part in parts]
    for parts in (("ankle",), ("knee", "ankle"), ("hip", "knee", "ankle"))
]


class Detector:
    """Applies `DetectorErrors` to true keypoints."""

    def __init__(self, errors: DetectorErrors, rng: SeededRandom) -> None:
        """Draws from `rng`."""
        self._errors = errors
        self._rng = rng

    def detect(self, seen: Tensor, points: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """What is reported of keypoints `seen` (N, 23, 2) in the image.

        `points` (N, 23, 3) are in the camera frame and `inside` (N, 23) says which fall into the
        image. Returns positions (N, 23, 2) and confidences (N, 23), zero for what is missed; at
        least six keypoints of a person are always reported.
        """
        body = seen[:, : _FEET.start]
        size = (body.amax(1) - body.amin(1)).amax(1)
        positions = self._swapped(seen + self._displacement(seen) * size[:, None, None])
        known = inside & self._kept(len(seen))
        if self._errors.hides_face:
            known &= self._facing(points)
        enough = known[:, : _FEET.start].sum(1) >= _MIN_DETECTED
        known[:, : _FEET.start] |= ~enough[:, None]
        sure = torch.where(
            self._rng.happens(0.5, len(seen), 1), 1.0, 0.4 + 0.6 * self._rng.uniform(*known.shape)
        )
        return positions, known * sure

    def _displacement(self, seen: Tensor) -> Tensor:
        rng, errors, count = self._rng, self._errors, len(seen)
        level = rng.uniform(count, 1, 1) * errors.max_noise
        if errors.fixed_noise is not None:
            level = torch.full_like(level, errors.fixed_noise)
        outliers = rng.happens(errors.outlier, *seen.shape[:2], 1)
        far = rng.normal(*seen.shape) * errors.outlier_noise * outliers
        return rng.normal(*seen.shape) * level + far

    def _swapped(self, positions: Tensor) -> Tensor:
        for pairs in (_ARM_PAIRS, _LEG_PAIRS):
            swap = self._rng.happens(self._errors.swap, len(positions))[:, None, None]
            forward = [side for pair in pairs for side in pair]
            backward = [side for pair in pairs for side in reversed(pair)]
            exchanged = positions.clone()
            exchanged[:, forward] = positions[:, backward]
            positions = torch.where(swap, exchanged, positions)
        return positions

    def _kept(self, count: int) -> Tensor:
        rng, errors = self._rng, self._errors
        rate = errors.dropout * rng.uniform(count, 1) * rng.happens(0.7, count, 1)
        kept = ~rng.happens(rate, count, len(BODY_23))
        kept[:, _FEET] &= ~rng.happens(errors.without_feet, count, 1)
        cut = rng.happens(errors.cut_legs, count)
        kept[:, _FEET] &= ~cut[:, None]
        # Half of the cuts are at the knees, a third at the ankles, the rest at the hips.
        height = rng.uniform(count)
        for joints, (low, high) in zip(_BELOW, ((0.5, 0.83), (0.0, 0.5), (0.83, 1.0)), strict=True):
            hidden = cut & (height >= low) & (height < high)
            kept[:, joints] &= ~hidden[:, None]
        return kept

    def _facing(self, points: Tensor) -> Tensor:
        """False for face keypoints on the far side of the head, most of the time."""
        rng, depth = self._rng, points[..., 2]
        known = torch.ones_like(depth, dtype=torch.bool)
        ears = (depth[:, _LEFT_EAR] + depth[:, _RIGHT_EAR]) / 2
        away = (depth[:, _NOSE] - ears > 0.03) & rng.happens(0.75, len(points))
        known[:, [_NOSE, _LEFT_EYE, _RIGHT_EYE]] &= ~away[:, None]
        left_behind = depth[:, _LEFT_EAR] - depth[:, _RIGHT_EAR]
        noticed = rng.happens(0.7, len(points))
        known[:, _LEFT_EAR] &= ~((left_behind > 0.08) & noticed)
        known[:, _RIGHT_EAR] &= ~((left_behind < -0.08) & noticed)
        return known
