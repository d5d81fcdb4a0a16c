"""Recover the people of a video, or of a webcam, over time.

Writes a motion file for each track, tracks.json and overlay.mp4. The camera stands still. Ctrl-C
ends the recovery, and what was recovered until then is written.
"""

import argparse
import contextlib
import itertools
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dualhmr.cli.photographs import check_writable
from dualhmr.cli.report import clock
from dualhmr.cli.shared_options import OF_RECOVERER, add_options, open_recoverer
from dualhmr.motion import MOTION_SUFFIXES
from dualhmr.video.frames import VideoReader
from dualhmr.video.video_recoverer import VideoRecoverer
from dualhmr.video.video_recovery import TrackCollector, VideoRecovery
from dualhmr.video.warm_start import WarmOptions

NAME = "video"
OVERLAY, TRACKS = "overlay.mp4", "tracks.json"
_FORMATS = tuple(suffix.removeprefix(".") for suffix in MOTION_SUFFIXES)
_INTERRUPTED = 130
_EVERY_S = 1.0
"""Between lines of progress."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("video", help="a video file, or the index of a webcam (Linux)")
    add_options(parser, "out")
    parser.add_argument(
        "--motion-format",
        type=_formats,
        default=("npz",),
        metavar="LIST",
        help=f"of the motion files, of {','.join(_FORMATS)} (npz)",
    )
    parser.add_argument("--no-overlay", action="store_true", help=f"write no {OVERLAY}")
    parser.add_argument("--no-smoothing", action="store_true", help="motions as they were found")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after so many")
    parser.add_argument(
        "--detect-every",
        type=int,
        default=1,
        metavar="N",
        help="run the detector on every n-th frame, and follow people in the others (%(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=WarmOptions.steps,
        metavar="N",
        help="of adaptation in each frame after a person's first (%(default)s)",
    )
    parser.add_argument(
        "--cold", action="store_true", help="begin every frame at the trained head, with all steps"
    )
    first = {"help": "in a person's first frame"}
    add_options(parser, "schedule", "max_steps", "focal_length", max_steps=first)
    add_options(parser, "detector", *OF_RECOVERER)


def _formats(text: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(each.strip().removeprefix(".") for each in text.split(",")))
    unknown = [each for each in chosen if each not in _FORMATS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(map(repr, unknown))} is no motion format; expected a list of "
            f"{','.join(_FORMATS)}"
        )
    return chosen


def run(options: argparse.Namespace) -> int:
    """Recovers, writes and reports."""
    source = int(options.video) if options.video.isdigit() else options.video
    with VideoReader(source) as video:
        check_writable(options.out)
        _check_video_stays(options)
        recovering = _recoverer(options)
        _say(f"networks: {recovering.recoverer.engine}")
        _say(f"adaptation: {recovering.recoverer.adaptation}")
        result = _recover(recovering, video, options)
    for warning in result.warnings:
        _say(f"warning: {warning}")
    _write(result, options, with_overlay=not (options.no_overlay or video.is_live))
    return 0 if result.is_complete else _INTERRUPTED


def _check_video_stays(options: argparse.Namespace) -> None:
    if Path(options.video).resolve() == (options.out / OVERLAY).resolve():
        raise ValueError(f"{options.video} would be replaced by the overlay; choose another --out")


def _recoverer(options: argparse.Namespace) -> VideoRecoverer:
    return VideoRecoverer(
        open_recoverer(options, detector=options.detector),
        schedule=options.schedule,
        max_steps=options.max_steps,
        warm_start=False if options.cold else WarmOptions(steps=options.steps),
        detect_every=options.detect_every,
        focal_length=options.focal_length,
    )


def _recover(
    recovering: VideoRecoverer, video: VideoReader, options: argparse.Namespace
) -> VideoRecovery:
    """The recovery of the frames until the end, the limit, or Ctrl-C."""
    collector = TrackCollector(recovering.recoverer.body, name=video.name, fps=video.fps)
    expected = _least(video.frame_count, options.max_frames)
    complete = True
    try:
        with _progress("recovering", expected) as done:
            for found in itertools.islice(recovering.frames(video), options.max_frames):
                collector.add(found)
                done(len(collector))
    except KeyboardInterrupt:
        if not len(collector):
            raise
        complete = False
        _say(f"interrupted after {len(collector)} frames; writing what was recovered")
    return collector.result(
        smoothed=not options.no_smoothing,
        warnings=tuple(video.warnings),
        is_complete=complete,
    )


def _least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _write(result: VideoRecovery, options: argparse.Namespace, *, with_overlay: bool) -> None:
    paths = result.save_motions(options.out, formats=options.motion_format)
    result.save_tracks(options.out / TRACKS, formats=options.motion_format)
    paths.append(options.out / TRACKS)
    if with_overlay:
        with VideoReader(options.video) as video, _progress("drawing", len(result)) as done:
            result.save_overlay(
                options.out / OVERLAY, iter(video), on_frame=lambda number: done(number + 1)
            )
        paths.append(options.out / OVERLAY)
    for track in result.tracks:
        frames = track.motion.frames
        _say(
            f"track {track.number}: {len(frames)} frames from {frames[0]} to {frames[-1]}, "
            f"{track.starts.count('reset')} resets"
        )
    if result.tracks and "npz" in options.motion_format:
        frames_of = [] if options.video.isdigit() else ["--video", options.video]
        words = shlex.join(["dualhmr", "view", str(options.out), *frames_of])
        _say(f"to look at them in 3D: {words}")
    for path in paths:
        print(path)


@contextlib.contextmanager
def _progress(what: str, expected: int | None) -> Iterator[Callable[[int], None]]:
    """A line on stderr that a terminal shows in place, elsewhere one at the end."""
    start = last = time.monotonic()
    in_place = sys.stderr.isatty()
    count = 0

    def line() -> str:
        rate = count / max(time.monotonic() - start, 1e-6)
        if expected is None:
            return f"{what}: {count} frames, {rate:.1f} a second"
        left = max(expected - count, 0) / rate if rate else 0.0
        return f"{what}: {count}/{expected} frames, {rate:.1f} a second, {clock(left)} left"

    def done(number: int) -> None:
        nonlocal count, last
        count = number
        if in_place and time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            print(f"\r{line()}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield done
    finally:
        print(f"{chr(13) if in_place else ''}{line()}", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
