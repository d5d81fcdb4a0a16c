"""Made motions with a known truth: walks whose feet stand still while they are down, and claps."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_NAMES, BodyArrays
from dualhmr.body.files import read_body
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion import Motion
from dualhmr.motion.feet import with_ankles_at

Array = npt.NDArray[np.float64]

_FLOOR_M = -1.2
"""The floor, below the camera, which is level."""
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Walk:
    """How a made person walks."""

    seconds: float = 8.0
    fps: float = 30.0
    speed: float = 0.9
    """Metres a second."""
    stride_s: float = 1.05
    """From a left step to the next left one."""
    turning: float = 0.35
    """Radians a second, to the left."""
    heading: float = 0.6
    """Radians, at the start; 0 is towards the camera."""
    start: tuple[float, float] = (-1.0, 5.0)
    """Metres to the right of the camera and away from it."""
    seed: int = 0
    """Of the shape."""


_DOWN = 0.31
"""Share of a stride before and after the middle of a step in which the foot is down."""
_HIP_HEIGHT = 0.93
"""Of the pelvis above the ankles, as a share of the leg's length: knees are always bent."""


def walk(options: Walk = Walk(), *, body: BodyArrays | None = None) -> Motion:
    """A person who walks along a curve before a level camera, and whose feet never slide."""
    body = read_body() if body is None else body
    time = np.arange(round(options.seconds * options.fps)) / options.fps
    phase = 2 * np.pi * time / options.stride_s
    rng = np.random.default_rng(options.seed)
    heading = options.heading + options.turning * time
    rotations = _posed(_upper_body(phase), heading)
    at_rest = _motion(
        rotations=rotations,
        betas=rng.normal(0, 0.7, body.beta_count),
        translation=np.zeros((len(time), 3)),
        body=body,
        fps=options.fps,
        focal_length=np.full(len(time), 1000.0),
        principal_point=np.full((len(time), 2), [640.0, 360.0]),
    )
    rest = at_rest.rest_joints
    hip, knee, ankle = (
        rest[JOINT_NAMES.index(f"left_{part}")] for part in ("hip", "knee", "ankle")
    )
    leg = np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
    ankle_height = 0.08
    pelvis = _path(time, options)
    pelvis[:, 1] = _FLOOR_M + ankle_height + _HIP_HEIGHT * leg + rest[0, 1] - hip[1]
    pelvis[:, 1] += 0.012 * np.cos(2 * phase)
    placed = at_rest.changed(translation=pelvis @ _TO_CAMERA - rest[0])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        steps = _steps(time, options, late=0.0 if side == "left" else 0.5)
        ankles = _ankles(steps, options, aside=sign * abs(float(ankle[0])) * 0.8)
        ankles[:, 1] += _FLOOR_M + ankle_height
        placed = with_ankles_at(placed, side, ankles @ _TO_CAMERA)
        placed = _flat_foot(placed, side, steps, options)
    return placed


def clap(
    *, hertz: float = 2.5, seconds: float = 4.0, fps: float = 30.0, sharp: bool = False
) -> Motion:
    """Somebody who stands and claps; with `sharp` the hands turn round within a frame."""
    body = read_body()
    time = np.arange(round(seconds * fps)) / fps
    swing = (
        np.abs(np.sin(np.pi * hertz * time))
        if sharp
        else (1 - np.cos(2 * np.pi * hertz * time)) / 2
    )
    angle = np.radians(109 - 35 * swing)
    zero = np.zeros_like(time)
    rotvecs = {
        "left_shoulder": np.stack([zero, -angle, zero], axis=1),
        "right_shoulder": np.stack([zero, angle, zero], axis=1),
    }
    return _motion(
        rotations=_posed(rotvecs, np.zeros(len(time))),
        betas=np.zeros(body.beta_count),
        translation=np.tile([0.0, 0.2, 4.0], (len(time), 1)),
        body=body,
        fps=fps,
    )


def _motion(*, body: BodyArrays, fps: float, **arrays: npt.NDArray[Any]) -> Motion:
    """In double precision; `Motion` makes it single."""
    return Motion(body=body, fps=fps, **arrays)


@dataclass(frozen=True)
class Jitter:
    """The errors of a recovery of each frame by itself: white noise, and frames that fail."""

    joint_rad: float = 0.018
    """Of each joint's rotation."""
    sideways_m: float = 0.004
    depth_m: float = 0.03
    betas: float = 0.15
    outliers: float = 0.02
    """Share of frames."""
    outlier_rad: float = 0.5
    outlier_m: float = 0.15


def jittered(motion: Motion, options: Jitter = Jitter(), *, seed: int = 0) -> Motion:
    """The motion as a recovery of each frame by itself would see it."""
    rng = np.random.default_rng(seed)
    frames = len(motion)
    failed = rng.random(frames) < options.outliers
    angles = np.where(failed, options.outlier_rad, options.joint_rad)[:, None, None]
    noise = rotvec_to_matrix(angles * rng.normal(0, 1, (frames, 24, 3)))
    place = rng.normal(0, 1, (frames, 3)) * [
        options.sideways_m,
        options.sideways_m,
        options.depth_m,
    ]
    place += failed[:, None] * rng.normal(0, options.outlier_m, (frames, 3))
    betas = motion.betas + rng.normal(0, options.betas, (frames, motion.body.beta_count))
    return replace(
        motion.changed(rotations=motion.rotations @ noise, translation=motion.translation + place),
        betas=betas.astype(np.float32),
    )


def _upper_body(phase: Array) -> dict[str, Array]:
    """Rotation vectors of the joints that swing: arms against legs, and knees bent a little."""
    zero, swing = np.zeros_like(phase), np.sin(phase)
    down = np.full_like(phase, np.radians(72))

    def about(x: Array, y: Array, z: Array) -> Array:
        return np.stack([x, y, z], axis=1)

    return {
        "left_shoulder": about(0.35 * swing, 0.1 * swing, -down),
        "right_shoulder": about(-0.35 * swing, 0.1 * swing, down),
        "left_elbow": about(zero, -0.35 - 0.15 * swing, zero),
        "right_elbow": about(zero, 0.35 - 0.15 * swing, zero),
        "spine1": about(zero, -0.06 * swing, zero),
        "spine3": about(zero, 0.08 * swing, zero),
        "left_knee": about(zero + 0.3, zero, zero),
        "right_knee": about(zero + 0.3, zero, zero),
        "left_hip": about(zero - 0.15, zero, zero),
        "right_hip": about(zero - 0.15, zero, zero),
    }


def _posed(rotvecs: dict[str, Array], heading: Array) -> Array:
    """(T, 24, 3, 3) in the camera's frame; joints without a rotation vector are at rest."""
    everything = np.zeros((len(heading), 24, 3))
    for name, values in rotvecs.items():
        everything[:, JOINT_NAMES.index(name)] = values
    everything[:, 0, 1] = heading
    rotations = rotvec_to_matrix(everything)
    rotations[:, 0] = _TO_CAMERA @ rotations[:, 0]
    return rotations


def _path(time: Array, options: Walk) -> Array:
    """(T, 3) where the walker is, y up and z towards the camera; the integral of the heading."""
    angle = options.heading + options.turning * time
    if abs(options.turning) < 1e-9:
        x, z = time * np.sin(options.heading), time * np.cos(options.heading)
    else:
        x = (np.cos(options.heading) - np.cos(angle)) / options.turning
        z = (np.sin(angle) - np.sin(options.heading)) / options.turning
    start = options.start
    return np.stack([start[0] + options.speed * x, 0 * x, -start[1] + options.speed * z], axis=1)


def _steps(time: Array, options: Walk, *, late: float) -> tuple[Array, Array, Array]:
    """When the foot's step before and after each frame is in its middle, and how far it is between.

    The share is 0 while the foot is down at the first, and 1 while it is down at the second.
    """
    stride = time / options.stride_s - late
    before = np.floor(stride)
    share = ((stride - before - _DOWN) / (1 - 2 * _DOWN)).clip(0, 1)
    return (before + late) * options.stride_s, (before + 1 + late) * options.stride_s, share


def _ankles(steps: tuple[Array, Array, Array], options: Walk, *, aside: float) -> Array:
    """(T, 3) above the floor, y up."""
    share = steps[2][:, None]
    places = []
    for time in steps[:2]:
        angle = options.heading + options.turning * time
        left = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], axis=1)
        places.append(_path(time, options) + aside * left)
    smooth = share**3 * (10 - 15 * share + 6 * share**2)
    ankles = places[0] + smooth * (places[1] - places[0])
    ankles[:, 1] = 0.09 * 64 * (share * (1 - share))[:, 0] ** 3
    return ankles


def _flat_foot(
    motion: Motion, side: str, steps: tuple[Array, Array, Array], options: Walk
) -> Motion:
    """The foot lies flat, in the direction of its step, and its toes hang while it swings."""
    share = steps[2]
    smooth = share**3 * (10 - 15 * share + 6 * share**2)
    time = steps[0] + smooth * (steps[1] - steps[0])
    turn = np.zeros((len(motion), 3))
    turn[:, 1] = options.heading + options.turning * time
    tip = np.zeros((len(motion), 3))
    tip[:, 0] = 0.5 * 64 * (share * (1 - share)) ** 3 * np.cos(np.pi * share)
    world = _TO_CAMERA @ rotvec_to_matrix(turn) @ rotvec_to_matrix(tip)
    ankle = JOINT_NAMES.index(f"{side}_ankle")
    rotations = motion.rotations.astype(np.float64)
    rotations[:, ankle] = (
        motion.world_rotations[:, motion.body.parents[ankle]].swapaxes(1, 2) @ world
    )
    return motion.changed(rotations=rotations)
