"""`recover_video`: a whole video in one call."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from dualhmr.adaptation.schedule import Schedule
from dualhmr.arguments import whole_number
from dualhmr.detection import AnyDetector
from dualhmr.recoverer import Recoverer
from dualhmr.video.frames import VideoReader
from dualhmr.video.tracks import TrackingOptions
from dualhmr.video.video_recoverer import (
    FrameRecovery,
    Source,
    VideoRecoverer,
    is_file_or_webcam,
)
from dualhmr.video.video_recovery import TrackCollector, VideoRecovery
from dualhmr.video.warm_start import WarmOptions


def recover_video(
    source: Source,
    *,
    recoverer: Recoverer | None = None,
    detector: AnyDetector | None = None,
    schedule: str | Schedule | None = None,
    max_steps: int | None = None,
    warm_start: bool | WarmOptions = True,
    detect_every: int = 1,
    tracking: TrackingOptions | None = None,
    smooth: bool = True,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    max_frames: int | None = None,
    fps: float = 30.0,
    on_frame: Callable[[FrameRecovery], object] | None = None,
) -> VideoRecovery:
    """Recovers the people of a video; one motion for each. The camera stands still.

    Memory grows by some kilobytes for each person and frame, whatever the size of the frames.

    Args:
        source: A file that PyAV reads, a webcam's index (then give `max_frames`), or frames:
            (H, W, 3) uint8 RGB arrays, `fps` of them a second, or `VideoFrame`s.
        recoverer: Networks, body and device; None: the default ones.
        detector: Finds people; None: the recoverer's.
        schedule: Of a person's first frame; None: the bundle's.
        max_steps: Of a person's first frame.
        warm_start: Whether the head of one frame is the start for the next, with two steps; or how.
        detect_every: The detector runs on every n-th frame, and people are followed in the others.
        tracking: When a person of one frame is one of the frame before.
        smooth: Whether the motions are smoothed, and each gets one shape.
        focal_length: Pixels; None: guessed from the size of the frames.
        principal_point: Pixels; None: the middle of the frames.
        max_frames: Stops after so many.
        fps: Of arrays.
        on_frame: Is called with each `FrameRecovery`, in order, as soon as it is there.

    Raises:
        FileNotFoundError, TypeError, ValueError: An argument cannot be used, or the file is none.
        ImportError: PyAV or SciPy is missing (the extra `video`).
        RuntimeError: An engine, a detector or a webcam fails.
    """
    most = None if max_frames is None else whole_number("max_frames", max_frames)
    recovering = VideoRecoverer(
        recoverer,
        detector=detector,
        schedule=schedule,
        max_steps=max_steps,
        warm_start=warm_start,
        detect_every=detect_every,
        tracking=tracking,
        focal_length=focal_length,
        principal_point=principal_point,
    )
    body = recovering.recoverer.body

    def collect(frames: Any, name: str, rate: float) -> TrackCollector:
        collector = TrackCollector(body, name=name, fps=rate)
        for found in itertools.islice(recovering.frames(frames, fps=rate), most):
            collector.add(found)
            if on_frame is not None:
                on_frame(found)
        return collector

    if not is_file_or_webcam(source):
        return collect(source, "frames", fps).result(smoothed=smooth)
    with VideoReader(source) as video:
        collector = collect(video, video.name, video.fps)
        return collector.result(smoothed=smooth, warnings=tuple(video.warnings))
