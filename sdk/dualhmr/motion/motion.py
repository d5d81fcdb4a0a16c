"""`Motion`: one person over time, as rotations, shape and place before the camera."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import (
    JOINT_COUNT,
    JOINT_NAMES,
    SMPL_KEYPOINT_VERTICES,
    BodyArrays,
    FloatArray,
)
from dualhmr.body.files import FREE_BODY, read_body
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.body.posing import pose_arrays
from dualhmr.files import atomic_path
from dualhmr.keypoints import KeypointSet
from dualhmr.motion.amass import (
    CAMERA_TO_Z_UP,
    Arrays,
    Layout,
    amass_arrays,
    read_amass,
    smpl_codec_arrays,
)
from dualhmr.motion.bvh import bvh_text
from dualhmr.motion.quaternions import matrix_to_rotvec
from dualhmr.motion.skeleton import (
    SkeletonMotion,
    posed_joints,
    rest_joints,
    skin_points,
    world_rotations,
)
from dualhmr.motion.trc import trc_text
from dualhmr.untrusted import one_value_error

DEFAULT_FPS = 30.0
MOTION_SUFFIXES = (".glb", ".bvh", ".npz", ".trc", ".smpl")
CAMERA_TO_Y_UP = np.diag([1.0, -1.0, -1.0])
"""From the camera's frame to that of viewers: x right, y up, z towards the camera."""
_CAMERA = ("frames", "focal_length", "principal_point", "confidence")
_SKIN_MARKERS = KeypointSet("skin", tuple(SMPL_KEYPOINT_VERTICES))
_PER_FRAME = ("rotations", "translation", "focal_length", "principal_point", "confidence")


@runtime_checkable
class HasMotion(Protocol):
    """A `Recovery`."""

    def motion(self, person: int | None = None) -> Motion:
        """One frame, of the only person."""


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """T frames of one person, in the frame of a steady camera: x right, y down, z forward, metres.

    Arrays are copied to float32. Raises ValueError for shapes that do not fit, numbers that are not
    finite, frames that do not increase, or without a frame.
    """

    rotations: FloatArray
    """(T, 24, 3, 3) the global orientation, body to camera, then relative to the parent joint."""
    betas: FloatArray
    """(B,) one shape for all frames, or (T, B)."""
    translation: FloatArray
    """(T, 3) added to the body in its own frame."""
    body: BodyArrays
    """Whose betas these are."""
    fps: float = DEFAULT_FPS
    """Frames a second of the video."""
    frames: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(T,) numbers of the frames in the video, increasing; 0 to T - 1 if left out."""
    focal_length: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) image pixels, or () where there is no camera."""
    principal_point: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(T, 2) image pixels, or (0, 2)."""
    confidence: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) mean confidence of the keypoints; 1 if left out, 0 in frames that were filled in."""

    def __post_init__(self) -> None:
        count = len(np.asarray(self.rotations))
        if not count:
            raise ValueError("a motion needs at least one frame, got none")
        frames = np.array(self.frames if len(self.frames) else np.arange(count), np.int64)
        confidence = self.confidence if len(self.confidence) else np.ones(count)
        betas = np.asarray(self.betas)
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "rotations": (self.rotations, (count, JOINT_COUNT, 3, 3)),
            "betas": (betas, (count,) * (betas.ndim - 1) + (self.body.beta_count,)),
            "translation": (self.translation, (count, 3)),
            "focal_length": (self.focal_length, (count if len(self.focal_length) else 0,)),
            "principal_point": (
                self.principal_point,
                (count if len(self.principal_point) else 0, 2),
            ),
            "confidence": (confidence, (count,)),
        }
        for name, (value, shape) in expected.items():
            array = np.array(value, np.float32)
            if array.shape != shape:
                raise ValueError(f"{name} has the shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has numbers that are not finite")
            object.__setattr__(self, name, array)
        if frames.shape != (count,) or (np.diff(frames) <= 0).any():
            raise ValueError(f"frames must be {count} increasing numbers, got {frames[:5]}...")
        if not 0 < self.fps < 1e5:
            raise ValueError(f"fps must be a positive number, got {self.fps}")
        object.__setattr__(self, "frames", frames)

    @classmethod
    def of(
        cls,
        recoveries: HasMotion | Iterable[HasMotion],
        *,
        fps: float = DEFAULT_FPS,
        frames: npt.ArrayLike | None = None,
    ) -> Motion:
        """Of a `Recovery` of one person, or of one for each frame, all on the same body.

        Raises ValueError where one holds no or several persons, has another body than the first or
        none (see `Recovery.motion`), or where there are none.
        """
        each = (
            [recoveries.motion()]
            if isinstance(recoveries, HasMotion)
            else [recovery.motion() for recovery in recoveries]
        )
        if not each:
            raise ValueError("a motion needs at least one recovery, got none")
        if not all(one.body.same_as(each[0].body) for one in each):
            raise ValueError("the recoveries of a motion need one body, these have several")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(one, name) for one in each]) for name in _PER_FRAME
        }
        return cls(
            betas=np.stack([one.betas for one in each]),
            body=each[0].body,
            fps=fps,
            frames=np.arange(len(each)) if frames is None else np.asarray(frames, np.int64),
            **joined,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, body: BodyArrays | None = None) -> Motion:
        """Reads an AMASS-style `.npz`, this project's or another's (z-up).

        `body` is the one that the betas are of, by default the free one. Of SMPL-H and SMPL-X the
        22 joints of the body are taken, and of the betas the body's first ones. Raises
        FileNotFoundError; ValueError for a damaged file, other arrays, or another body's betas.
        """
        body = read_body() if body is None else body
        free = body.name == FREE_BODY
        arrays: dict[str, Any] = read_amass(path, beta_count=body.beta_count, free_body=free)
        with one_value_error(path, "cannot be read as a motion"):
            return cls(body=body, **arrays).turned(CAMERA_TO_Z_UP.T)

    def __repr__(self) -> str:
        """In one line."""
        seconds = (self.frames[-1] - self.frames[0] + 1) / self.fps
        shape = "one shape" if self.betas.ndim == 1 else "a shape a frame"
        return f"Motion({len(self)} frames, {seconds:.2f} s, {shape}, body {self.body.name!r})"

    def __len__(self) -> int:
        """T."""
        return len(self.rotations)

    def __getitem__(self, frames: slice) -> Motion:
        """Some of the frames, by a slice."""
        names = (*_PER_FRAME, "frames", *(("betas",) if self.betas.ndim > 1 else ()))
        return replace(self, **{name: getattr(self, name)[frames] for name in names})

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """(T,) seconds from the video's frame 0."""
        return self.frames / self.fps

    @property
    def each_betas(self) -> FloatArray:
        """(T, B), also where there is one shape."""
        return np.broadcast_to(self.betas, (len(self), self.body.beta_count))

    @cached_property
    def rest_joints(self) -> FloatArray:
        """(24, 3), or (T, 24, 3) with a shape a frame: the skeleton at rest, body's frame."""
        return rest_joints(self.body, self.betas)

    @cached_property
    def world_rotations(self) -> FloatArray:
        """(T, 24, 3, 3) each joint's frame to the camera's."""
        return world_rotations(self.rotations, self.body.parents)

    @cached_property
    def joints(self) -> FloatArray:
        """(T, 24, 3) SMPL's skeleton, camera frame."""
        posed = posed_joints(self.world_rotations, self.rest_joints, self.body.parents)
        return posed + self.translation[:, None]

    def points(self, keypoint_set: KeypointSet) -> FloatArray:
        """(T, K, 3) points of the body by name, camera frame; 0 for names that it does not have.

        Raises ValueError for a body without keypoints and without SMPL's topology.
        """
        return skin_points(
            self.body,
            keypoint_set,
            rotations=self.rotations,
            betas=self.each_betas,
            world=self.world_rotations,
            rest=self.rest_joints,
            joints=self.joints,
        )

    def vertices(self, frames: slice = slice(None)) -> FloatArray:
        """(T, V, 3) camera frame; of some frames, since all of a long motion take gigabytes."""
        some = self[frames]
        posed, _ = pose_arrays(self.body, some.rotations, np.array(some.each_betas))
        return posed + some.translation[:, None]

    def changed(self, **arrays: npt.ArrayLike) -> Motion:
        """With other arrays, by the names of the fields."""
        values: dict[str, Any] = arrays
        return replace(self, **values)

    def turned(self, rotation: npt.ArrayLike) -> Motion:
        """The same motion in another frame: `rotation` (3, 3), from the camera's frame into it."""
        turn = np.asarray(rotation, np.float64)
        rest = self.rest_joints[..., 0, :].astype(np.float64)
        rotations = self.rotations.astype(np.float64)
        rotations[:, 0] = turn @ rotations[:, 0]
        # The body turns about the pelvis, which is `rest` from the origin of its own frame.
        translation = (rest + self.translation) @ turn.T - rest
        return self.changed(rotations=rotations, translation=translation)

    def with_one_shape(self) -> Motion:
        """One shape for all frames: the median of the frames' betas, each by itself."""
        if self.betas.ndim == 1:
            return self
        seen = self.betas[self.confidence > 0] if (self.confidence > 0).any() else self.betas
        return self.with_shape(np.median(seen, axis=0))

    def with_shape(self, betas: npt.ArrayLike) -> Motion:
        """With other betas (B,) for all frames, seen at the same place in the same size.

        Where a frame's body becomes larger it moves away from the camera by as much, and the other
        way round.
        """
        same = self.changed(betas=betas)
        scale = _size(same) / _size(self)
        pelvis = self.joints[:, 0] * scale[:, None]
        return same.changed(translation=pelvis - same.rest_joints[0])

    def filled(self) -> Motion:
        """With the frames that are missing between the first and the last, interpolated.

        Rotations turn evenly, numbers go straight. Filled frames have confidence 0.
        """
        numbers = np.arange(self.frames[0], self.frames[-1] + 1)
        if len(numbers) == len(self):
            return self
        after = np.searchsorted(self.frames, numbers).clip(1)
        before = after - 1
        span = self.frames[after] - self.frames[before]
        share = (numbers - self.frames[before]) / span

        def between(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            if not len(values):
                return values
            part = share.reshape(-1, *(1,) * (values.ndim - 1))
            return values[before] + part * (values[after] - values[before])

        first = self.rotations[before].astype(np.float64)
        turn = matrix_to_rotvec(np.swapaxes(first, -1, -2) @ self.rotations[after])
        return replace(
            self,
            rotations=(first @ rotvec_to_matrix(turn * share[:, None, None])).astype(np.float32),
            betas=self.betas if self.betas.ndim == 1 else between(self.betas),
            translation=between(self.translation),
            focal_length=between(self.focal_length),
            principal_point=between(self.principal_point),
            confidence=np.where(np.isin(numbers, self.frames), between(self.confidence), 0),
            frames=numbers,
        )

    def save(self, path: str | os.PathLike[str], *, layout: Layout = "smpl") -> None:
        """Writes a motion file by its suffix, whole or not at all.

        A file has one shape and no missing frames: `filled` and `with_one_shape` come first. The
        camera stays at the origin.

        - `.glb`: skeleton, skin and animation; y-up, metres.
        - `.bvh`: skeleton and Euler angles; y-up, centimetres, as is usual.
        - `.trc`: OpenSim's markers, 24 joints and 11 points of face and feet; y-up, millimetres.
        - `.npz`: AMASS-style; z-up, metres. A pose has 72 numbers, 156 with the layout `smplh`.
        - `.smpl`: Meshcapade's codec; y-up, metres. Not for the free body.

        Raises ValueError for another suffix, a layout that the format does not have, or a body that
        it cannot name; FileNotFoundError for a missing folder; PermissionError.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in MOTION_SUFFIXES:
            suffixes = ", ".join(MOTION_SUFFIXES)
            raise ValueError(f"cannot save {path}: its suffix must be one of {suffixes}")
        if layout != "smpl" and suffix != ".npz":
            raise ValueError(f"the layout {layout!r} is of .npz files, not of {suffix}")
        even = self.filled().with_one_shape()
        content = even._content(path, layout)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

    def _content(self, path: Path, layout: Layout) -> bytes:
        suffix = path.suffix.lower()
        z_up = suffix == ".npz"
        upright = self.turned(CAMERA_TO_Z_UP if z_up else CAMERA_TO_Y_UP)
        parameters = (upright.rotations, upright.translation, self.betas)
        own: dict[str, Any] = {"fps": self.fps, "body": self.body.name}
        if z_up:
            camera = {name: getattr(self, name) for name in _CAMERA}
            return _npz(amass_arrays(*parameters, layout=layout, **own) | camera)
        if suffix == ".smpl":
            return _npz(smpl_codec_arrays(*parameters, **own))
        if suffix == ".trc":
            names, markers = upright._markers()
            first = int(self.frames[0]) + 1
            return trc_text(path.name, names, markers, fps=self.fps, first_frame=first).encode()
        skeleton = SkeletonMotion(
            names=JOINT_NAMES,
            parents=self.body.parents,
            rest=self.rest_joints.astype(np.float64),
            rotations=upright.rotations.astype(np.float64),
            root=upright.joints[:, 0].astype(np.float64),
            fps=self.fps,
        )
        if suffix == ".bvh":
            return bvh_text(skeleton).encode()
        # It draws on `rendering`, which loads numba where there is one.
        from dualhmr.motion.glb import skin_at_rest, skinned_glb

        return skinned_glb(skeleton, skin_at_rest(self.body, self.betas, self.rotations))

    def _markers(self) -> tuple[tuple[str, ...], FloatArray]:
        try:
            skin = self.points(_SKIN_MARKERS)
        except ValueError:  # a body whose skin has no names
            return JOINT_NAMES, self.joints
        names = (*JOINT_NAMES, *_SKIN_MARKERS.names)
        return names, np.concatenate([self.joints, skin], axis=1)


def _npz(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def _size(motion: Motion) -> npt.NDArray[np.float64]:
    """(T,) or (1,) summed length of the bones at rest, metres."""
    rest = np.asarray(motion.rest_joints, np.float64)
    bones = rest[..., 1:, :] - rest[..., list(motion.body.parents[1:]), :]
    return np.atleast_1d(np.linalg.norm(bones, axis=-1).sum(-1))
