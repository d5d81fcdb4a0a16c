"""Errors of a 2D keypoint detector: noise, outliers, swapped limbs and missing keypoints."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.keypoints import BODY_23
from dualhmr_training.data.synthetic.poses import SeededRandom

_MIN_DETECTED = 6
_FACE = slice(0, 5)  # of BODY_23
# Confidences are clipped normal numbers: median, deviation, least. The noise of a keypoint is
# multiplied by exp(-_SCORE_NOISE z) where its confidence is z deviations above the median.
_SCORE_MEDIAN, _SCORE_SPREAD, _LEAST_SCORE, _SCORE_NOISE = 0.76, 0.3, 0.05, 0.4
_FEET = slice(17, 23)  # of BODY_23: COCO's 17 keypoints come first


@dataclass(frozen=True)
class DetectorErrors:
    """Noise is in fractions of the person's size in the image; the rest are probabilities."""

    max_noise: float = 0.045
    """Each person has a level of Gaussian noise between zero and this."""
    fixed_noise: float | None = None
    """One level for all persons instead."""
    typical_noise: float | None = None
    """Levels are log-normal around this median instead; `fixed_noise` goes before it."""
    noise_spread: float = 0.5
    """Standard deviation of the logarithm of these levels."""
    face_noise: float = 1.0
    """Noise of eyes, ears and nose, as a factor."""
    outlier: float = 0.015
    """Probability that a keypoint has additional noise, of the level `outlier_noise`."""
    outlier_noise: float = 0.12
    swap: float = 0.02
    """Probability that left and right are swapped, for arms and for legs."""
    dropout: float = 0.35
    """Persons lose keypoints at a rate between zero and this,"""
    losing: float = 0.7
    """if they are of this share."""
    without_feet: float = 0.5
    """Share of persons without toes and heels, as from detectors of COCO's keypoints."""
    cut_legs: float = 0.19
    """Share of persons hidden from the ankles, knees or hips down."""
    hides_face: bool = True
    """Whether keypoints on the far side of the head are mostly missed."""
    scored: bool = False
    """Confidences as of a detector's scores, lower where errors are larger. Otherwise half of the
    persons have certain keypoints, the others random confidences from 0.4 on."""


def movenet_errors() -> DetectorErrors:
    """Those of the default detector on photographs; feet as by default.

    Measured by `dualhmr_benchmarks.detector_errors` on 53 persons in 11 photographs and variants of
    them. Left and right were exchanged for none of 83 pairs of limbs; 1% allows for others.
    """
    return DetectorErrors(
        typical_noise=0.02,
        noise_spread=0.5,
        face_noise=0.35,
        outlier=0.1,
        outlier_noise=0.14,
        swap=0.01,
        dropout=0.28,
        losing=0.23,
        scored=True,
    )


def noise_only(level: float) -> DetectorErrors:
    """COCO's 17 keypoints where they are in the image, with Gaussian noise of one level."""
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
# What is missing of legs cut at the ankles, knees and hips.
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

    def detect(self, keypoints: Tensor, points: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """True keypoints (N, 23, 2) in the image -> what a detector reports.

        `points` (N, 23, 3) are in the camera frame; `inside` (N, 23) says which are in the image.
        Returns positions (N, 23, 2) and confidences (N, 23), zero for missing keypoints. At least
        six keypoints of each person are reported.
        """
        body = keypoints[:, : _FEET.start]
        size = (body.amax(1) - body.amin(1)).amax(1)
        # Drawn where it is used, so that other configurations keep their random numbers.
        score = self._rng.normal(*keypoints.shape[:2]) if self._errors.scored else None
        noise = self._noise(keypoints)
        if score is not None:
            noise = noise * torch.exp(-_SCORE_NOISE * score)[..., None]
        positions = self._swapped(keypoints + noise * size[:, None, None])
        reported = inside & self._kept(len(keypoints))
        if self._errors.hides_face:
            reported &= self._facing(points)
        enough = reported[:, : _FEET.start].sum(1) >= _MIN_DETECTED
        reported[:, : _FEET.start] |= ~enough[:, None]
        if score is not None:
            return positions, reported * (_SCORE_MEDIAN + _SCORE_SPREAD * score).clamp(
                _LEAST_SCORE, 1
            )
        # Half of the persons come from a detector that is always certain.
        certain = self._rng.happens(0.5, len(keypoints), 1)
        confidence = torch.where(certain, 1.0, 0.4 + 0.6 * self._rng.uniform(*reported.shape))
        return positions, reported * confidence

    def _noise(self, keypoints: Tensor) -> Tensor:
        rng, errors, count = self._rng, self._errors, len(keypoints)
        if errors.typical_noise is not None:
            level = errors.typical_noise * torch.exp(errors.noise_spread * rng.normal(count, 1, 1))
        else:
            level = rng.uniform(count, 1, 1) * errors.max_noise
        if errors.fixed_noise is not None:
            level = torch.full_like(level, errors.fixed_noise)
        level = level.repeat(1, keypoints.shape[1], 1)
        level[:, _FACE] *= errors.face_noise
        outliers = rng.happens(errors.outlier, *keypoints.shape[:2], 1)
        far = rng.normal(*keypoints.shape) * errors.outlier_noise * outliers
        return rng.normal(*keypoints.shape) * level + far

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
        rate = errors.dropout * rng.uniform(count, 1) * rng.happens(errors.losing, count, 1)
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
        """(N, 23) False for most face keypoints on the far side of the head."""
        rng, depth = self._rng, points[..., 2]
        reported = torch.ones_like(depth, dtype=torch.bool)
        # The nose is more than 3 cm behind the ears: the person faces away from the camera.
        ears = (depth[:, _LEFT_EAR] + depth[:, _RIGHT_EAR]) / 2
        away = (depth[:, _NOSE] - ears > 0.03) & rng.happens(0.75, len(points))
        reported[:, [_NOSE, _LEFT_EYE, _RIGHT_EYE]] &= ~away[:, None]
        # One ear is more than 8 cm behind the other: a profile view.
        left_behind = depth[:, _LEFT_EAR] - depth[:, _RIGHT_EAR]
        noticed = rng.happens(0.7, len(points))
        reported[:, _LEFT_EAR] &= ~((left_behind > 0.08) & noticed)
        reported[:, _RIGHT_EAR] &= ~((left_behind < -0.08) & noticed)
        return reported
