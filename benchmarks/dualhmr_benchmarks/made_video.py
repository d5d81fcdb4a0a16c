"""A made video whose bodies are known in every frame: people who walk, turn and cross, and wave.

Motions are made by rule, so that no captured motion is needed and none was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from dualhmr.body.arrays import BodyArrays
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.body.posing import pose_arrays
from dualhmr.camera import default_focal_length
from dualhmr.rendering.meshes import draw_scene
from dualhmr.rendering.scene import Scene

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

FPS = 25.0
SIZE = (960, 540)
_FLOOR_M = 1.25
"""Below the camera."""
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
_COLOURS = np.array([[0.75, 0.32, 0.28], [0.25, 0.42, 0.72], [0.32, 0.6, 0.36]], np.float32)


@dataclass(frozen=True, eq=False)
class MadeVideo:
    """T frames of P people in the frame of a steady camera, metres."""

    rotations: FloatArray
    """(T, P, 24, 3, 3)."""
    betas: FloatArray
    """(P, B)."""
    translation: FloatArray
    """(T, P, 3)."""
    joints: FloatArray
    """(T, P, 24, 3)."""
    body: BodyArrays
    focal_length: float
    """Pixels of frames of `SIZE`."""

    def __len__(self) -> int:
        """T."""
        return len(self.joints)

    @property
    def pixels(self) -> Array:
        """(T, P, 24, 2) the joints in the frames."""
        middle = (np.array(SIZE) - 1) / 2
        return self.focal_length * self.joints[..., :2] / self.joints[..., 2:] + middle

    def frame(self, number: int) -> npt.NDArray[np.uint8]:
        """One frame (H, W, 3): shaded bodies in plain clothes before a blurred room."""
        vertices, _ = pose_arrays(self.body, self.rotations[number], self.betas)
        scene = Scene.checked(
            vertices + self.translation[number][:, None],
            self.body.faces,
            focal_length=self.focal_length,
            principal_point=(np.array(SIZE) - 1) / 2,
        )
        picture = _room().copy()
        draw_scene(scene, picture, colours=_COLOURS[: len(self.betas)], opacity=1.0)
        return picture


def make_video(body: BodyArrays, *, frames: int = 240, seed: int = 0) -> MadeVideo:
    """Two people who walk to and fro and cross twice, and one who turns on the spot and waves."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(frames) / FPS
    betas = rng.normal(0, 0.7, (3, body.beta_count)).astype(np.float32)
    half = time_s[-1] / 2
    walkers = [
        _to_and_fro(time_s, half, (-2.1, 2.1), depth=6.6, cadence=0.95),
        _to_and_fro(time_s, half, (2.3, -2.0), depth=7.6, cadence=0.88),
    ]
    poses, headings, places = (list(parts) for parts in zip(*walkers, strict=True))
    poses.append(_waving(time_s))
    headings.append(2 * np.pi * time_s / time_s[-1])
    places.append(np.stack([np.full(frames, 0.1), np.full(frames, 9.0)], 1))
    rotations = np.stack(
        [_rotations(pose, turn) for pose, turn in zip(poses, headings, strict=True)], 1
    ).astype(np.float32)
    translation = np.zeros((frames, 3, 3), np.float32)
    joints = np.zeros((frames, 3, 24, 3), np.float32)
    for person in range(3):
        shape = np.repeat(betas[person : person + 1], frames, 0)
        vertices, own = pose_arrays(body, rotations[:, person], shape)
        # The lowest point stands on the floor, the pelvis is above the path.
        translation[:, person, [0, 2]] = places[person] - own[:, 0, [0, 2]]
        translation[:, person, 1] = _FLOOR_M - vertices[..., 1].max(1)
        joints[:, person] = own + translation[:, person, None]
    return MadeVideo(rotations, betas, translation, joints, body, default_focal_length(*SIZE))


def _to_and_fro(
    time_s: Array, half: float, ends: tuple[float, float], *, depth: float, cadence: float
) -> tuple[Array, Array, Array]:
    """Poses (T, 24, 3), headings (T,) and places (T, 2) x, z of somebody who turns back midway."""
    turn_s = 1.0
    share = np.clip(time_s / (half - turn_s / 2), 0, 1)
    back = np.clip((time_s - half - turn_s / 2) / (half - turn_s / 2), 0, 1)
    x = ends[0] + (ends[1] - ends[0]) * (share - back)
    turning = np.clip((time_s - half + turn_s / 2) / turn_s, 0, 1)
    turning = turning * turning * (3 - 2 * turning)
    start = np.pi / 2 * np.sign(ends[1] - ends[0])
    # They turn by way of the camera.
    heading = start - np.sign(start) * np.pi * turning
    z = depth - 0.5 * np.sin(np.pi * turning)
    return _walking(time_s, cadence), heading, np.stack([x, z], 1)


def _walking(time_s: Array, cadence: float) -> Array:
    """(T, 24, 3) rotation vectors; `cadence` is in strides a second."""
    phase = 2 * np.pi * cadence * time_s
    pose = _standing(len(time_s))
    for side, sign in ((0, 1.0), (1, -1.0)):
        swing = sign * np.sin(phase)
        pose[:, 1 + side, 0] = -0.08 - 0.48 * swing
        pose[:, 4 + side, 0] = 0.12 + 0.55 * np.maximum(0, sign * np.cos(phase)) ** 2
        pose[:, 7 + side, 0] = -0.05 + 0.18 * swing
        pose[:, 16 + side, 0] = 0.42 * swing
        pose[:, 18 + side, 1] = -sign * (0.45 - 0.2 * swing)
    pose[:, 3, 1] = 0.1 * np.sin(phase)
    pose[:, 0, 1] = -0.07 * np.sin(phase)
    return pose


def _waving(time_s: Array) -> Array:
    """(T, 24, 3): one arm waves, the other rests."""
    pose = _standing(len(time_s))
    lifted = 0.5 - 0.5 * np.cos(2 * np.pi * time_s / 4.0)
    pose[:, 16, 2] += 1.9 * lifted
    pose[:, 18, 1] = -0.3 - 0.5 * lifted * (1 + np.sin(2 * np.pi * 1.2 * time_s))
    pose[:, 15, 1] = 0.3 * np.sin(2 * np.pi * 0.3 * time_s)
    return pose


def _standing(frames: int) -> Array:
    pose = np.zeros((frames, 24, 3))
    pose[:, 16, 2], pose[:, 17, 2] = -1.15, 1.15
    pose[:, 18, 1], pose[:, 19, 1] = -0.2, 0.2
    return pose


def _rotations(pose: Array, heading: Array) -> Array:
    """(T, 24, 3, 3) in the camera's frame; arms hang first, and swing about the shoulders then."""
    rotations = np.asarray(rotvec_to_matrix(pose), np.float64)
    for shoulder in (16, 17):
        swing, down = np.zeros((2, len(pose), 3))
        swing[:, 0], down[:, 2] = pose[:, shoulder, 0], pose[:, shoulder, 2]
        rotations[:, shoulder] = rotvec_to_matrix(swing) @ rotvec_to_matrix(down)
    turn = np.zeros((len(pose), 3))
    turn[:, 1] = heading
    rotations[:, 0] = _TO_CAMERA @ rotvec_to_matrix(turn) @ rotations[:, 0]
    return rotations


def _room() -> npt.NDArray[np.uint8]:
    """(H, W, 3): wall, floor and blurred patches."""
    height = SIZE[1]
    rng = np.random.default_rng(7)
    grey = rng.integers(110, 190, (9, 16, 1)) + rng.integers(-15, 15, (9, 16, 3))
    patches = Image.fromarray(grey.astype(np.uint8)).resize(SIZE)
    picture = np.asarray(patches.filter(ImageFilter.GaussianBlur(9)), np.float32)
    picture[height * 6 // 10 :] = 0.4 * picture[height * 6 // 10 :] + 80
    return picture.astype(np.uint8)
