"""`VideoRecovery`: the people of a video over time, and the files and pictures of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dualhmr.body.arrays import BodyArrays
from dualhmr.files import write_text
from dualhmr.motion import Motion, smooth
from dualhmr.video.frames import Pixels, VideoFrame, VideoWriter
from dualhmr.video.video_recoverer import FrameRecovery

TRACKS_FORMAT, TRACKS_VERSION = "dualhmr-tracks", 1
_OPACITY = 0.85


@dataclass(frozen=True, eq=False, repr=False)
class PersonTrack:
    """One person of a video, in T of its frames."""

    number: int
    """Counted from 1 in the order of appearance; numbers of people who were seen in too few frames
    are left out."""
    motion: Motion
    """Smoothed, if that was asked for; `motion.frames` says in which frames the person is."""
    starts: tuple[str, ...]
    """(T,) where the adaptation began, one of `STARTS`."""
    reprojection_px: npt.NDArray[np.float32]
    """(T,) mean distance to the observed keypoints after adaptation, before smoothing."""

    def __repr__(self) -> str:
        frames = self.motion.frames
        return f"PersonTrack({self.number}, {len(frames)} frames from {frames[0]} to {frames[-1]})"


@dataclass(frozen=True, eq=False, repr=False)
class VideoRecovery:
    """The people of a video."""

    tracks: tuple[PersonTrack, ...]
    """In the order of their numbers."""
    name: str
    """Of the file or the webcam."""
    fps: float
    times_s: npt.NDArray[np.float64]
    """(F,) of every frame that was recovered, seconds after the first."""
    size: tuple[int, int]
    """Width and height of the upright frames."""
    warnings: tuple[str, ...] = ()
    """Of the file: damaged frames, a missing end."""
    is_complete: bool = True
    """Whether the video was recovered to its end, or to the frames that were asked for."""

    def __repr__(self) -> str:
        return f"VideoRecovery({self.name}, {len(self)} frames, {len(self.tracks)} tracks)"

    def __len__(self) -> int:
        """F, frames."""
        return len(self.times_s)

    def save_motions(
        self, folder: str | os.PathLike[str], *, formats: tuple[str, ...] = ("npz",)
    ) -> list[Path]:
        """Writes `track_01.npz` and so on, one file for each track and format; see `Motion.save`.

        Frames of a motion file are evenly spaced, at the mean rate; `tracks.json` has the times.
        """
        paths = []
        for track in self.tracks:
            for suffix in formats:
                path = Path(folder) / f"{_stem(track)}.{suffix}"
                track.motion.save(path)
                paths.append(path)
        return paths

    def save_tracks(self, path: str | os.PathLike[str], *, formats: tuple[str, ...] = ()) -> None:
        """Writes a JSON file of the tracks: docs/reference/formats.md describes it."""
        tracks = [
            {
                "number": track.number,
                "files": [f"{_stem(track)}.{suffix}" for suffix in formats],
                "frames": track.motion.frames.tolist(),
                "start": list(track.starts),
                "reprojection_px": [round(float(each), 2) for each in track.reprojection_px],
                "confidence": [round(float(each), 3) for each in track.motion.confidence],
            }
            for track in self.tracks
        ]
        document = {
            "format": TRACKS_FORMAT,
            "format_version": TRACKS_VERSION,
            "video": self.name,
            "size": list(self.size),
            "fps": self.fps,
            "times_s": [round(float(each), 4) for each in self.times_s],
            "complete": self.is_complete,
            "warnings": list(self.warnings),
            "tracks": tracks,
        }
        write_text(path, json.dumps(document, allow_nan=False) + "\n")

    def save_overlay(
        self,
        path: str | os.PathLike[str],
        frames: Iterator[VideoFrame],
        *,
        on_frame: Callable[[int], object] | None = None,
    ) -> None:
        """Writes the video with the bodies drawn over it, and the numbers of their tracks.

        `frames` are those of the video, read again; `on_frame` is called after each with its
        number. The file appears when all of it is written.
        """
        with VideoWriter(path, fps=self.fps) as writer:
            for frame in frames:
                if frame.number >= len(self):
                    break
                writer.write(self.drawn(frame), frame.time_s)
                if on_frame is not None:
                    on_frame(frame.number)

    def drawn(self, frame: VideoFrame) -> Pixels:
        """A frame with its people drawn over it."""
        # Loads libraries that recovering does not need.
        from dualhmr.rendering.meshes import draw_scene, track_colours
        from dualhmr.rendering.scene import Scene

        found = [
            (track, int(row))
            for track in self.tracks
            for row in np.flatnonzero(track.motion.frames == frame.number)
        ]
        picture = frame.pixels.copy()
        if not found:
            return picture
        motions = [track.motion[row : row + 1] for track, row in found]
        scene = Scene.checked(
            np.concatenate([motion.vertices() for motion in motions]),
            motions[0].body.faces,
            focal_length=np.concatenate([motion.focal_length for motion in motions]),
            principal_point=np.concatenate([motion.principal_point for motion in motions]),
        )
        numbers = [track.number for track, _ in found]
        draw_scene(scene, picture, colours=track_colours(numbers), opacity=_OPACITY)
        return _numbered(picture, scene.project()[..., :2], numbers)


def _stem(track: PersonTrack) -> str:
    return f"track_{track.number:02d}"


def _numbered(picture: Pixels, outlines: npt.NDArray[Any], numbers: list[int]) -> Pixels:
    """With each person's number above the vertices (P, V, 2), pixels."""
    drawing = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawing)
    size = max(10, picture.shape[0] // 28)
    for number, points in zip(numbers, outlines, strict=True):
        if not np.isfinite(points).any():
            continue
        middle, top = np.nanmean(points[:, 0]), np.nanmin(points[:, 1])
        place = float(middle), max(float(top) - 0.2 * size, float(size))
        pen.text(
            place, str(number), fill="white", font_size=size, anchor="ms", stroke_width=2,
            stroke_fill="black",
        )  # fmt: skip
    return np.asarray(drawing)


@dataclass
class _Rows:
    """What is kept of one person: some kilobytes a frame."""

    confirmed: bool = False
    frames: list[int] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    reprojection_px: list[float] = field(default_factory=list)
    arrays: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict)


class TrackCollector:
    """Collects the frames of a video; keeps parameters, no meshes and no pixels."""

    def __init__(self, body: BodyArrays, *, name: str, fps: float) -> None:
        """`body` is the recoverer's."""
        self._body, self._name, self._fps = body, name, fps
        self._rows: dict[int, _Rows] = {}
        self._times: list[float] = []
        self._size = (0, 0)

    def __len__(self) -> int:
        """Frames so far."""
        return len(self._times)

    @property
    def confirmed(self) -> int:
        """Tracks so far that were seen often enough."""
        return sum(rows.confirmed for rows in self._rows.values())

    def add(self, found: FrameRecovery) -> None:
        """The next frame."""
        frame, recovery = found.frame, found.recovery
        self._times.append(frame.time_s)
        self._size = frame.pixels.shape[1], frame.pixels.shape[0]
        rotations = np.concatenate([recovery.global_orient[:, None], recovery.body_pose], axis=1)
        arrays = {
            "rotations": rotations,
            "betas": recovery.betas,
            "translation": recovery.translation,
            "focal_length": recovery.focal_length,
            "principal_point": recovery.principal_point,
            "confidence": recovery.keypoints.confidence.mean(1),
        }
        for row, track in enumerate(found.tracks):
            rows = self._rows.setdefault(track, _Rows())
            rows.confirmed |= found.confirmed[row]
            rows.frames.append(frame.number)
            rows.starts.append(found.starts[row])
            rows.reprojection_px.append(float(recovery.reprojection_px[row, 1]))
            for name, array in arrays.items():
                # Copies: a view would keep the whole frame's arrays.
                rows.arrays.setdefault(name, []).append(array[row].copy())

    def result(
        self,
        *,
        smoothed: bool = True,
        warnings: tuple[str, ...] = (),
        is_complete: bool = True,
    ) -> VideoRecovery:
        """All frames so far, smoothed or as they are."""
        tracks = []
        for number, rows in sorted(self._rows.items()):
            if not rows.confirmed:
                continue
            motion = Motion(
                body=self._body,
                fps=self._fps,
                frames=np.array(rows.frames),
                **{name: np.stack(parts) for name, parts in rows.arrays.items()},
            )
            tracks.append(
                PersonTrack(
                    number,
                    smooth(motion) if smoothed else motion,
                    tuple(rows.starts),
                    np.array(rows.reprojection_px, np.float32),
                )
            )
        return VideoRecovery(
            tuple(tracks),
            self._name,
            self._fps,
            np.array(self._times),
            self._size,
            warnings,
            is_complete,
        )
