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
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.body.points import BodyPoints
from dualhmr.camera import View, image_to_crop, keypoint_box
from dualhmr.keypoints import BODY_23
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.ages import betas_of_all_ages
from dualhmr_training.data.synthetic.detector import Detector, DetectorErrors, movenet_errors
from dualhmr_training.data.synthetic.poses import (
    PoseVariation,
    SeededRandom,
    draw_rows,
    varied_poses,
)


@dataclass(frozen=True)
class Viewpoints:
    """Directions that people are seen from; yaw is uniform."""

    pitch: float = 0.17
    """Standard deviation, radians."""
    roll: float = 0.08
    """Standard deviation, radians."""
    tilted: float = 0.06
    """Share of people with large pitch and roll: lying, falling, turning cartwheels."""
    camera_above_m: float | None = None
    """Mean height of the camera above the middle of a person, as in photographs. Pitch then has a
    mean, of 7 degrees for 0.45 m, besides the noise `pitch`. None: it has none."""
    camera_spread_m: float = 0.4
    """Standard deviation of that height."""


def orient(rotvecs: Tensor, viewpoints: Viewpoints, rng: SeededRandom) -> Tensor:
    """Poses (N, 24, 3), rotation vectors, -> matrices (N, 24, 3, 3) seen from random directions.

    The global orientation changes from a y-up world to the camera frame (y down, z forward).
    """
    return seen_by(camera_rotations(len(rotvecs), viewpoints, rng), rotvecs)


def camera_rotations(count: int, viewpoints: Viewpoints, rng: SeededRandom) -> Tensor:
    """Rotations (count, 3, 3) of a y-up world into the frames of random cameras.

    Without a height of the camera, pitch and roll have mean zero: networks learn any other mean as
    a lean of standing people.
    """
    above = _pitch_of_height(viewpoints, count, rng)
    tilted = rng.happens(viewpoints.tilted, count)
    angles = torch.stack(
        [
            torch.where(tilted, rng.normal(count), above + viewpoints.pitch * rng.normal(count)),
            2 * math.pi * rng.uniform(count),
            torch.where(tilted, rng.normal(count), viewpoints.roll * rng.normal(count)),
        ],
        dim=1,
    )
    pitch, yaw, roll = (rotvec_to_rotmat(angles[:, [i]] * torch.eye(3)[i]) for i in range(3))
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return to_camera @ roll @ pitch @ yaw


def seen_by(cameras: Tensor, rotvecs: Tensor) -> Tensor:
    """Poses (N, 24, 3) in the world -> matrices (N, 24, 3, 3) in the frames of N cameras."""
    rotations = rotvec_to_rotmat(rotvecs)
    rotations[:, 0] = cameras @ rotations[:, 0]
    return rotations


def _pitch_of_height(viewpoints: Viewpoints, count: int, rng: SeededRandom) -> Tensor:
    """Radians (N,) that a camera of some height looks down, from 1.5 to 12 m away."""
    if viewpoints.camera_above_m is None:
        return torch.zeros(count)
    height = viewpoints.camera_above_m + viewpoints.camera_spread_m * rng.normal(count)
    distance = torch.exp(math.log(1.5) + rng.uniform(count) * math.log(12 / 1.5))
    return torch.atan2(height, distance)


@dataclass(frozen=True)
class Framing:
    """Where people are in the picture, and how large."""

    smallest: float = 0.15
    """Of the picture's smaller side that a person takes up; the share is log-uniform."""
    largest: float = 1.15
    near_border: float = 0.15
    """Share of people whose middle may be anywhere up to the border."""
    truncated: float = 0.0
    """Share of people of whom the border cuts off a part: mostly below, of 10% to 60%."""


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
    all_ages: float = 0.0
    """Share of people of all ages from 2 to 90, children mostly, instead of adults; the free body's
    shapes alone know ages."""
    framing: Framing = field(default_factory=Framing)
    largest_category: float | None = None
    """Largest share of any category among the poses of training: see `categories.balanced`. None:
    as the file has them."""


def wide_population(detector: DetectorErrors | None = None) -> Population:
    """Wider people: balanced and checked poses, photographs' cameras, all ages, cut-off people.

    `detector` is `movenet_errors` if left out. `Population()` is what the first default networks
    were trained on.
    """
    return Population(
        poses=PoseVariation(sitting=0.05, checked=True),
        viewpoints=Viewpoints(pitch=0.1, camera_above_m=0.45),
        detector=detector or movenet_errors(),
        all_ages=0.25,
        framing=Framing(truncated=0.15),
        largest_category=0.15,
    )


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
    pose: Tensor
    """(N,) the row of the pool that each pose was varied from."""
    up: Tensor
    """(N, 3) the world's up in the camera frame."""


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
        rows = draw_rows(self._pool, count, rng)
        poses = varied_poses(self._pool, rows, population.poses, rng)
        cameras = camera_rotations(count, population.viewpoints, rng)
        rotations = seen_by(cameras, poses)
        betas = rng.normal(count, self._body.beta_count) * population.beta_scale
        if population.all_ages:
            others = betas_of_all_ages(self._body, count, rng)
            betas = torch.where(rng.happens(population.all_ages, count)[:, None], others, betas)
        points = self._points(pose_skeleton(self._body, rotations, betas))
        half_size = _half_image(rng, count)
        translation = _place(points, half_size, population.framing, rng)
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
            pose=rows,
            up=cameras[:, :, 1],
        )


def _half_image(rng: SeededRandom, count: int) -> Tensor:
    """Half the width and height (count, 2) of images of random shape with diagonal 1."""
    aspect = torch.exp(1.2 * (rng.uniform(count) - 0.5))  # 0.55 to 1.8
    height = (1 + aspect.square()).rsqrt()
    return torch.stack([aspect * height, height], dim=1) / 2


def _place(points: Tensor, half_size: Tensor, framing: Framing, rng: SeededRandom) -> Tensor:
    """Translations (N, 3), metres, to a random size and place in the image.

    Some people are so far off centre that the image's border cuts them, and those who are
    `truncated` always are.
    """
    count = len(points)
    low, high = points.amin(1), points.amax(1)
    extent = (high - low)[:, :2].amax(1)
    span = math.log(framing.largest / framing.smallest)
    share = torch.exp(math.log(framing.smallest) + rng.uniform(count) * span)
    size = share * 2 * half_size.amin(1)
    depth = (extent / size).clamp(1.2, 40.0) - (low + high)[:, 2] / 2
    depth = torch.maximum(depth, 0.5 - low[:, 2])  # all points at least 0.5 m from the camera
    reach = torch.where(rng.happens(framing.near_border, count), 1.0, 0.65)
    offset = (2 * rng.uniform(count, 2) - 1) * half_size * reach[:, None]
    in_plane = offset * depth[:, None] - (low + high)[:, :2] / 2
    if framing.truncated:
        cut = rng.happens(framing.truncated, count)[:, None]
        in_plane = torch.where(cut, _cut_off(in_plane, depth, low, high, half_size, rng), in_plane)
    return torch.cat([in_plane, depth[:, None]], dim=1)


# Below, right, left, above: the axis, the sign of the border, and the share of people.
_BORDERS = ((1, 1, 0.6), (0, 1, 0.15), (0, -1, 0.15), (1, -1, 0.1))


def _cut_off(
    in_plane: Tensor, depth: Tensor, low: Tensor, high: Tensor, half_size: Tensor, rng: SeededRandom
) -> Tensor:
    """`in_plane` (N, 2) moved along one axis, so that a border cuts off 10% to 60% of the body."""
    count, moved = len(depth), in_plane.clone()
    chosen, hidden = rng.uniform(count), 0.1 + 0.5 * rng.uniform(count)
    start = 0.0
    for axis, sign, share in _BORDERS:
        own = (chosen >= start) & (chosen < start + share)
        start += share
        edge = sign * half_size[:, axis] * depth  # at the depth of the body's origin
        length = high[:, axis] - low[:, axis]
        far = high[:, axis] if sign > 0 else low[:, axis]
        place = edge + sign * hidden * length - far
        moved[:, axis] = torch.where(own, place, moved[:, axis])
    return moved
