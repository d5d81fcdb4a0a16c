"""From where synthetic people are seen."""

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
    """From where people are seen. Angles in radians; yaw is uniform."""

    pitch: float = 0.17
    roll: float = 0.08
    tilted: float = 0.06
    """Share of people tilted any way: lying, falling, turning cartwheels."""


def orient(rotvecs: Tensor, viewpoints: Viewpoints, rng: SeededRandom) -> Tensor:
    """Rotation vectors (N, 24, 3) -> matrices (N, 24, 3, 3), seen from random sides.

    The global orientation goes from the y-up world to the camera's frame (y down, z forward).
    Pitch and roll have mean zero: a mean other than zero makes standing people lean.
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


# Synthetic people: a body, a pose, a view, and the keypoints that a detector might report.
#
# Lengths in the image are in units of the focal length, which is taken to be the image's diagonal,
# as at test time where nothing better is known; the principal point is the origin.


@dataclass(frozen=True)
class Population:
    """What the synthetic people are like."""

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
    """As seen through the box around the keypoints that networks see."""
    keypoints: Tensor
    """(N, 23, 2) true positions, normalised crop coordinates."""
    in_view: Tensor
    """(N, 23) bool: near enough to the crop to be worth fitting."""
    detected: Tensor
    """(N, 23, 2) what a detector reports, normalised crop coordinates."""
    confidence: Tensor
    """(N, 23), zero where it reports nothing."""
    observed: Tensor
    """(N, 23, 2) input of keypoint-reading networks, normalised crop coordinates; see
    `Population.look`."""
    observed_confidence: Tensor
    """(N, 23)."""
    translation: Tensor
    """(N, 3) metres, added to the body to place it before the camera."""
    half_image: Tensor
    """(N, 2) half the width and height of the image, whose centre is the origin."""


class PeopleSampler:
    """An endless source of synthetic people, the same for the same seed."""

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
        """Goes on as a sampler made with `seed` would begin."""
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
        view = _view(observed, observed_confidence)
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
    aspect = torch.exp(1.2 * (rng.uniform(count) - 0.5))
    height = (1 + aspect.square()).rsqrt()
    return torch.stack([aspect * height, height], dim=1) / 2


def _place(points: Tensor, half_size: Tensor, rng: SeededRandom) -> Tensor:
    """Where people stand, (N, 3) metres: at a random size and place in the image.

    They take up 15% to 115% of the image's smaller side, log-uniform; now and then they are far
    enough off centre to be cut.
    """
    count = len(points)
    low, high = points.amin(1), points.amax(1)
    extent = (high - low)[:, :2].amax(1)
    share = torch.exp(math.log(0.15) + rng.uniform(count) * math.log(1.15 / 0.15))
    size = share * 2 * half_size.amin(1)
    depth = (extent / size).clamp(1.2, 40.0) - (low + high)[:, 2] / 2
    depth = torch.maximum(depth, 0.5 - low[:, 2])
    reach = torch.where(rng.happens(0.15, count), 1.0, 0.65)
    offset = (2 * rng.uniform(count, 2) - 1) * half_size * reach[:, None]
    in_plane = offset * depth[:, None] - (low + high)[:, :2] / 2
    return torch.cat([in_plane, depth[:, None]], dim=1)


def _view(keypoints: Tensor, confidence: Tensor) -> View:
    center, height = keypoint_box(keypoints, confidence)
    return View(center, height, torch.ones_like(height), torch.zeros_like(center))
