"""Feet on the ground: when they are down, how far they slide then, and legs that hold them.

Heels and big toes count, each by itself. Ground is a plane near the lowest of them in all frames
of a track, before a steady camera. Smooth first: noise looks like speed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.keypoints import KeypointSet
from dualhmr.motion.motion import Motion

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SOLES = KeypointSet("soles", ("left_heel", "left_big_toe", "right_heel", "right_big_toe"))


@dataclass(frozen=True)
class ContactOptions:
    """When a heel or a toe is down."""

    height_m: float = 0.08
    """Above the ground, at most."""
    speed_m_s: float = 0.45
    """At most, of the path without its quickest movements."""
    shortest_s: float = 0.1
    """Contacts and gaps that are shorter are none."""


DEFAULT_CONTACTS = ContactOptions()


class FootContacts(NamedTuple):
    """Of heels and toes, in the order of `SOLES`."""

    down: BoolArray
    """(T, 4)."""
    height: Array
    """(T, 4) metres above the ground."""
    up: Array
    """(3,) the ground's normal in the camera's frame."""


def foot_contacts(motion: Motion, options: ContactOptions = DEFAULT_CONTACTS) -> FootContacts:
    """When heels and toes are down: near the ground, and slow, for long enough.

    Raises ValueError for a body whose feet have no names, see `Motion.points`.
    """
    points = motion.points(SOLES).astype(np.float64)
    up, height = _ground(motion, points)
    if len(points) < 2:
        return FootContacts(height < options.height_m, height, up)
    steady = _blurred(points.reshape(len(points), -1), _STEADY_S * _rate(motion))
    velocity = np.gradient(steady.reshape(points.shape), motion.times, axis=0)
    speed = np.linalg.norm(velocity, axis=-1)
    down = (height < options.height_m) & (speed < options.speed_m_s)
    shortest = options.shortest_s * _rate(motion)
    for point in down.T:
        _drop_short_runs(point, shortest, value=False)
        _drop_short_runs(point, shortest, value=True)
    return FootContacts(down, height, up)


def sliding_mm(motion: Motion, contacts: FootContacts) -> float:
    """Millimetres a frame along the ground, mean over heels and toes that are down in both frames.

    NaN where nothing is ever down.
    """
    steps = np.diff(motion.points(SOLES).astype(np.float64), axis=0)
    steps -= (steps @ contacts.up)[..., None] * contacts.up
    both = contacts.down[1:] & contacts.down[:-1]
    frames = np.diff(motion.frames)[:, None]
    lengths = 1000 * np.linalg.norm(steps, axis=-1) / frames
    return float(lengths[both].mean()) if both.any() else float("nan")


def lock_feet(motion: Motion, contacts: FootContacts | None = None) -> Motion:
    """The motion with feet that stay where they are while they are down.

    A heel or toe that is down belongs where it is on average over that time. The whole body moves
    there slowly, and hips and knees do the rest; the pelvis, the upper body and the directions of
    the feet stay. Between contacts the corrections pass over into each other. `contacts` are those
    of `foot_contacts` by default.
    """
    contacts = foot_contacts(motion) if contacts is None else contacts
    points = motion.points(SOLES).astype(np.float64)
    errors = np.stack(
        [
            _corrections(points[:, :2], contacts.down[:, :2]),
            _corrections(points[:, 2:], contacts.down[:, 2:]),
        ],
        axis=1,
    )
    down = np.stack([contacts.down[:, :2].any(1), contacts.down[:, 2:].any(1)], axis=1)
    weight = _blurred(down.astype(np.float64), _BLUR_S * _rate(motion))[..., None] + 1e-3
    shift = _blurred((weight * errors).sum(1) / weight.sum(1), _BLUR_S * _rate(motion))
    moved = motion.changed(translation=motion.translation + shift)
    for foot, side in enumerate(("left", "right")):
        ankles = motion.joints[:, JOINT_NAMES.index(f"{side}_ankle")] + errors[:, foot]
        moved = with_ankles_at(moved, side, ankles)
    return moved


_BLUR_S = 0.12
_STEADY_S = 0.07
_SLOPE = 0.1
"""How far the ground's normal is from the bodies' mean direction, typically, in radians."""
_ROUGH_M = 0.03
"""How far a foot that is down is from the ground, typically."""


def _ground(motion: Motion, points: Array) -> tuple[Array, Array]:
    """The normal (3,) of the ground, and the height (T, 4) of the points above it.

    The lowest point of each frame is on the ground, unless the person jumps. The plane is fitted to
    them with weights that forget those far above it. It hardly tilts where they are close together.
    """
    first = (motion.joints[:, JOINT_NAMES.index("neck")] - motion.joints[:, 0]).mean(0)
    up = first.astype(np.float64) / np.linalg.norm(first)
    side = np.cross(up, [0.0, 0.0, 1.0]) if abs(up[2]) < 0.9 else np.cross(up, [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(up, side), up], axis=1)
    centre = points.mean((0, 1))
    local = (points - centre) @ axes
    lowest = local[np.arange(len(local)), local[..., 2].argmin(1)]
    rows = np.concatenate([lowest[:, :2], np.ones((len(lowest), 1))], axis=1)
    plane = np.array([0.0, 0.0, np.median(lowest[:, 2])])
    prior = np.diag([1 / _SLOPE**2, 1 / _SLOPE**2, 0.0])
    for _ in range(10):
        above = (lowest[:, 2] - rows @ plane) / _ROUGH_M
        weights = (1 / (1 + above**2) / _ROUGH_M**2)[:, None]
        plane = np.linalg.solve(
            rows.T @ (weights * rows) + prior, rows.T @ (weights[:, 0] * lowest[:, 2])
        )
    normal = np.array([-plane[0], -plane[1], 1.0])
    scale = np.linalg.norm(normal)
    height = (local[..., 2] - local[..., :2] @ plane[:2] - plane[2]) / scale
    up_exact: Array = axes @ normal / scale
    return up_exact, height


def _corrections(points: Array, down: BoolArray) -> Array:
    """(T, 3) what moves a foot's heel and toe (T, 2, 3) to where they belong, on average.

    Where neither is down, between what is before and after.
    """
    anchors = points.copy()
    for point in range(points.shape[1]):
        for start, end in _runs(down[:, point]):
            anchors[start:end, point] = np.median(points[start:end, point], axis=0)
    some = down.any(1)
    if not some.any():
        return np.zeros((len(points), 3))
    share = (down / np.maximum(down.sum(1, keepdims=True), 1))[..., None]
    error = ((anchors - points) * share).sum(1)
    known, frames = np.flatnonzero(some), np.arange(len(points))
    return np.stack([np.interp(frames, known, error[known, axis]) for axis in range(3)], axis=1)


def _runs(flags: BoolArray) -> list[tuple[int, int]]:
    """Start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _drop_short_runs(flags: BoolArray, shortest: float, *, value: bool) -> None:
    """In place; what is at the start or the end may be part of a longer run."""
    for start, end in _runs(flags == value):
        if end - start < shortest and start > 0 and end < len(flags):
            flags[start:end] = not value


def _rate(motion: Motion) -> float:
    """Frames a second that are there."""
    seconds = float(motion.times[-1] - motion.times[0])
    return (len(motion) - 1) / seconds if len(motion) > 1 else motion.fps


def _blurred(values: Array, frames: float) -> Array:
    """(T, N) with a Gaussian of that standard deviation; the ends go on as they are."""
    reach = int(np.ceil(3 * frames))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(frames, 1e-6)) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)


_STRAIGHT = 0.999
"""How much of a leg's length is used: a straight leg has no plane in which its knee bends."""


def with_ankles_at(motion: Motion, side: str, ankles: npt.ArrayLike) -> Motion:
    """The motion with the ankle of `side` (`left`, `right`) at `ankles` (T, 3), camera frame.

    The knee bends in its own plane and the leg turns about the hip by the smallest angle, as in any
    solver for two bones. The foot keeps its direction. An ankle farther away than the leg is long
    is reached for.
    """
    hip, knee, ankle = (JOINT_NAMES.index(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
    joints, world = motion.joints.astype(np.float64), motion.world_rotations.astype(np.float64)
    thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
    target = np.asarray(ankles, np.float64) - joints[:, hip]
    # SMPL's knees bend about their own x axis; the plane of a bent leg is more exact.
    axis = np.cross(thigh, shin) + 1e-4 * _length(thigh) * _length(shin) * world[:, knee, :, 0]
    axis /= _length(axis)
    bend = rotvec_to_matrix(axis * (_bend(thigh, shin, target) - _angle(thigh, shin))[:, None])
    foot = thigh + (bend @ shin[..., None])[..., 0]
    swing = rotvec_to_matrix(_between(foot, target))
    parent = world[:, motion.body.parents[hip]]
    hips, knees = swing @ world[:, hip], swing @ bend @ world[:, knee]
    rotations = motion.rotations.astype(np.float64)
    rotations[:, hip] = parent.swapaxes(1, 2) @ hips
    rotations[:, knee] = hips.swapaxes(1, 2) @ knees
    rotations[:, ankle] = knees.swapaxes(1, 2) @ world[:, ankle]
    return motion.changed(rotations=rotations)


def _bend(thigh: Array, shin: Array, target: Array) -> Array:
    """(T,) the angle between thigh and shin that makes the leg as long as `target`."""
    upper, lower = _length(thigh)[:, 0], _length(shin)[:, 0]
    reach = _STRAIGHT * (upper + lower)
    distance = np.minimum(_length(target)[:, 0], reach)
    cosine = (distance**2 - upper**2 - lower**2) / (2 * upper * lower)
    return np.arccos(cosine.clip(-1, 1))


def _between(first: Array, second: Array) -> Array:
    """(T, 3) the smallest rotation vector that turns one direction into the other."""
    axis = np.cross(first, second)
    length = _length(axis)
    return axis / np.maximum(length, 1e-12) * _angle(first, second)[:, None]


def _angle(first: Array, second: Array) -> Array:
    return np.arctan2(_length(np.cross(first, second))[:, 0], (first * second).sum(-1))


def _length(vectors: Array) -> Array:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)
