"""Synthetic people: a body, a pose, a view, and the keypoints that a detector reports.

Lengths in the image are in units of the focal length, which is the image's diagonal, as at test
time if the focal length is unknown. The principal point is the origin.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.points import BodyPoints, keypoint_regressor
from dualhmr.camera import View, image_to_crop, keypoint_box
from dualhmr.keypoints import BODY_23
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.detector import Detector, DetectorErrors
from dualhmr_training.data.synthetic.poses import PoseVariation, SeededRandom, sample_poses


@dataclass(frozen=True)
class Viewpoints:
    """Directions that people are seen from; yaw is uniform."""

    pitch: float = 0.17
    """Standard deviation, radians."""
    roll: float = 0.08
    """Standard deviation, radians."""
    tilted: float = 0.06
    """Share of people with large pitch and roll: lying, falling, turning cartwheels."""


def orient(rotvecs: Tensor, viewpoints: Viewpoints, rng: SeededRandom) -> Tensor:
    """Poses (N, 24, 3), rotation vectors, -> matrices (N, 24, 3, 3) seen from random directions.

    The global orientation changes from a y-up world to the camera frame (y down, z forward).
    Pitch and roll have mean zero: networks learn any other mean as a lean of standing people.
    """
    count = len(rotvecs)
    tilted = rng.happens(viewpoints.tilted, count)
    angles = torch.stack(
        [
            torch.where(tilted, rng.normal(count), viewpoints.pitch * rng.normal(count)),
            2 * math.pi * rng.uniform(count),
            torch.where(tilted, rng.normal(count), viewpoints.roll * rng.normal(count)),
        ],
        dim=1,
    )
    pitch, yaw, roll = (rotvec_to_rotmat(angles[:, [i]] * torch.eye(3)[i]) for i in range(3))
    rotations = rotvec_to_rotmat(rotvecs)
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotations[:, 0] = to_camera @ roll @ pitch @ yaw @ rotations[:, 0]
    return rotations


@dataclass(frozen=True)
class Population:
    """Distribution of synthetic people."""

    poses: PoseVariation = field(default_factory=PoseVariation)
    viewpoints: Viewpoints = field(default_factory=Viewpoints)
    detector: DetectorErrors = field(default_factory=DetectorErrors)
    look: DetectorErrors | None = None
    """Errors of the observed keypoints, the input of keypoint-reading networks. None: the input is
    what `detector` reports. Otherwise the observed keypoints stand for the image: their errors are
    independent of the detector's, as they are for networks that read pixels, and boxes are drawn
    around them. (The field keeps its name because training folders store it.)"""
    beta_scale: float = 1.0


class People(NamedTuple):
    """N synthetic persons."""

    rotations: Tensor
    """(N, 24, 3, 3), camera frame."""
    betas: Tensor
    """(N, 10)."""
    view: View
    """With the box around the observed keypoints."""
    keypoints: Tensor
    """(N, 23, 2) true positions, normalised crop coordinates."""
    in_view: Tensor
    """(N, 23) bool: close enough to the crop to be fitted, within 2.5 half crop sizes."""
    detected: Tensor
    """(N, 23, 2) reported by the detector, normalised crop coordinates."""
    confidence: Tensor
    """(N, 23), zero for keypoints that are not reported."""
    observed: Tensor
    """(N, 23, 2) input of keypoint-reading networks, normalised crop coordinates; see
    `Population.look`."""
    observed_confidence: Tensor
    """(N, 23)."""
    translation: Tensor
    """(N, 3) metres, added to the body to place it in the camera frame."""
    half_image: Tensor
    """(N, 2) half the width and height of the image, whose centre is the origin."""


class PeopleSampler:
    """Samples people from a population; the same seed gives the same people."""

    def __init__(self, body: Body, pool: Tensor, population: Population, *, seed: int) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from."""
        self._body = body
        self._points = BodyPoints(body, keypoint_regressor(body, BODY_23))
        self._pool = pool
        self._population = population
        self._rng = SeededRandom(seed)
        self._detector = Detector(population.detector, self._rng)
        self._observer = population.look and Detector(population.look, self._rng)

    def reseed(self, seed: int) -> None:
        """Continues like a new sampler with `seed`."""
        self._rng.reseed(seed)

    @torch.no_grad()
    def sample(self, count: int) -> People:
        """The next `count` people."""
        rng, population = self._rng, self._population
        poses = sample_poses(self._pool, count, population.poses, rng)
        rotations = orient(poses, population.viewpoints, rng)
        betas = rng.normal(count, self._body.beta_count) * population.beta_scale
        points = self._points(pose_skeleton(self._body, rotations, betas))
        half_size = _half_image(rng, count)
        translation = _place(points, half_size, rng)
        placed = points + translation[:, None]
        true = placed[..., :2] / placed[..., 2:]
        inside = (true.abs() < half_size[:, None]).all(-1)
        # Observed keypoints are drawn first, so that they do not depend on the detector's errors.
        drawn = self._observer and self._observer.detect(true, placed, inside)
        detected, confidence = self._detector.detect(true, placed, inside)
        observed, observed_confidence = drawn or (detected, confidence)
        center, height = keypoint_box(observed, observed_confidence)
        view = View(center, height, torch.ones_like(height), torch.zeros_like(center))
        true_keypoints = image_to_crop(true, view)
        return People(
            rotations=rotations,
            betas=betas,
            view=view,
            keypoints=true_keypoints,
            in_view=(true_keypoints.abs() < 2.5).all(-1),
            detected=image_to_crop(detected, view),
            confidence=confidence,
            observed=image_to_crop(observed, view),
            observed_confidence=observed_confidence,
            translation=translation,
            half_image=half_size,
        )


def _half_image(rng: SeededRandom, count: int) -> Tensor:
    """Half the width and height (count, 2) of images of random shape with diagonal 1."""
    aspect = torch.exp(1.2 * (rng.uniform(count) - 0.5))  # 0.55 to 1.8
    height = (1 + aspect.square()).rsqrt()
    return torch.stack([aspect * height, height], dim=1) / 2


def _place(points: Tensor, half_size: Tensor, rng: SeededRandom) -> Tensor:
    """Translations (N, 3), metres, to a random size and place in the image.

    People take up 15% to 115% of the image's smaller side, log-uniform. Some are so far off centre
    that the image's border cuts them.
    """
    count = len(points)
    low, high = points.amin(1), points.amax(1)
    extent = (high - low)[:, :2].amax(1)
    share = torch.exp(math.log(0.15) + rng.uniform(count) * math.log(1.15 / 0.15))
    size = share * 2 * half_size.amin(1)
    depth = (extent / size).clamp(1.2, 40.0) - (low + high)[:, 2] / 2
    depth = torch.maximum(depth, 0.5 - low[:, 2])  # all points at least 0.5 m from the camera
    reach = torch.where(rng.happens(0.15, count), 1.0, 0.65)
    offset = (2 * rng.uniform(count, 2) - 1) * half_size * reach[:, None]
    in_plane = offset * depth[:, None] - (low + high)[:, :2] / 2
    return torch.cat([in_plane, depth[:, None]], dim=1)
