"""`VideoRecoverer`: bodies and tracks of a video, frame by frame, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.arguments import finite_number
from dualhmr.detection import AnyDetector
from dualhmr.person import AdaptedPerson, PersonEvidence
from dualhmr.recoverer import Recoverer
from dualhmr.recoverer.arguments import chosen_schedule
from dualhmr.recoverer.photo import Photo
from dualhmr.recovery import Recovery
from dualhmr.video.frames import VideoFrame, VideoReader
from dualhmr.video.people import TrackedPeople
from dualhmr.video.tracks import Track, TrackingOptions
from dualhmr.video.warm_start import COLD, WarmOptions, WarmStart, can_continue

Source = str | os.PathLike[str] | int | Iterable[Any]
"""A video file, a webcam's index, or frames: `VideoFrame`s, or (H, W, 3) uint8 RGB arrays."""


@dataclass(frozen=True, eq=False)
class FrameRecovery:
    """The people of one frame."""

    frame: VideoFrame
    recovery: Recovery
    """P persons; those who could not be recovered are in `recovery.skipped`."""
    tracks: tuple[int, ...]
    """(P,) the number of each person's track, counted from 1."""
    confirmed: tuple[bool, ...]
    """(P,) whether the track was seen often enough; others may be errors of the detector."""
    starts: tuple[str, ...]
    """(P,) where the adaptation began: `cold`, `warm` or `reset`, see `STARTS`."""

    def __repr__(self) -> str:
        return f"FrameRecovery({self.frame.number}, {self.frame.time_s:.3f} s, {self.tracks})"


class VideoRecoverer:
    """Recovers the people of videos with one `Recoverer`. Build it once for many videos."""

    def __init__(
        self,
        recoverer: Recoverer | None = None,
        *,
        detector: AnyDetector | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        warm_start: bool | WarmOptions = True,
        detect_every: int = 1,
        tracking: TrackingOptions | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> None:
        """Checks the options; nothing is opened that `recoverer` (None: the default) has open.

        Args:
            recoverer: Networks, body, device.
            detector: Finds people, as in `Recoverer`; None: the recoverer's.
            schedule: Of a cold start, that is in a person's first frame; None: the bundle's.
            max_steps: Of a cold start.
            warm_start: Whether later frames begin at the head of the frame before; or how.
            detect_every: The detector runs on every n-th frame, and MoveNet's second network looks
                at people where they should be in the others.
            tracking: When a person of one frame is one of the frame before.
            focal_length: Pixels, of the steady camera; None: the bundle's guess from the frame's
                size, the same in all frames.
            principal_point: Pixels; None: the middle of the frame.

        Raises:
            TypeError, ValueError: An argument cannot be used, or the detector cannot follow people.
            ImportError: SciPy is missing, or what the detector needs.
        """
        self.recoverer = recoverer or Recoverer()
        self._schedule = chosen_schedule(self.recoverer.bundle, schedule, max_steps)
        self._pipeline = self.recoverer._pipeline
        self._detector = self._pipeline.finder.open(detector, None)
        self._every, self._tracking = detect_every, tracking
        self._camera: dict[str, Any] = {
            "focal_length": focal_length,
            "principal_point": principal_point,
        }
        options = warm_start if isinstance(warm_start, WarmOptions) else WarmOptions()
        fitter = self._pipeline.fitter
        warm = bool(warm_start) and can_continue(fitter, self.recoverer.adaptation)
        self._warm_options = options if warm else None
        TrackedPeople(self._detector, tracking, detect_every=detect_every)  # raises now

    def frames(self, source: Source, *, fps: float = 30.0) -> Iterator[FrameRecovery]:
        """The people of each frame, as soon as the frame was read.

        `fps` gives arrays their times. Raises what `VideoReader` does when the first frame is asked
        for, and what `Recoverer.recover` does for the networks.
        """
        people = TrackedPeople(self._detector, self._tracking, detect_every=self._every)
        warm = None
        if self._warm_options is not None:
            opener = self.recoverer._opener
            threads = opener.threads if opener.adaptation == "numba" else 1
            fitter = self._pipeline.fitter
            warm = WarmStart(fitter, self._schedule, self._warm_options, threads=threads)
        for frame in _frames_of(source, fps):
            found, tracks = people(frame.pixels, frame.time_s)
            yield self._recover(frame, found.to_keypoints(), tracks, people, warm)
            if warm is not None:
                warm.keep_only([track.number for track in people.tracker.tracks])

    def _recover(
        self,
        frame: VideoFrame,
        keypoints: Any,
        tracks: list[Track],
        people: TrackedPeople,
        warm: WarmStart | None,
    ) -> FrameRecovery:
        photo = Photo(frame.pixels, keypoints, **self._camera)
        prepared = self._pipeline.prepare(photo, self._schedule)
        numbers = prepared.plausible.persons
        starts = [COLD] * len(numbers)

        def adapt(evidence: list[PersonEvidence]) -> list[AdaptedPerson | NonFiniteError]:
            assert warm is not None
            own = [tracks[number].number for number in numbers]
            bodies, starts[:] = warm.adapt(evidence, own, frame.time_s)
            return bodies

        (recovery,) = self._pipeline.fit(
            [prepared], self._schedule, adapt=None if warm is None else adapt
        )
        start_of = dict(zip(numbers, starts, strict=True))
        recovered = recovery.persons.tolist()
        return FrameRecovery(
            frame,
            recovery,
            tuple(tracks[number].number for number in recovered),
            tuple(people.tracker.is_confirmed(tracks[number]) for number in recovered),
            tuple(start_of[number] for number in recovered),
        )


def is_file_or_webcam(source: Source) -> TypeGuard[str | os.PathLike[str] | int]:
    """Whether `source` is to be opened, and is not frames."""
    return isinstance(source, str | os.PathLike | int | np.integer)


def _frames_of(source: Source, fps: float) -> Iterator[VideoFrame]:
    if is_file_or_webcam(source):
        with VideoReader(source) as video:
            yield from video
        return
    fps = finite_number("fps", fps, "frames a second")
    assert not isinstance(source, str | os.PathLike | int)
    for number, item in enumerate(source):
        yield item if isinstance(item, VideoFrame) else VideoFrame(number, number / fps, item)
