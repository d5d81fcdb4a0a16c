"""A made video, recovered with cold and with warm starts: errors, jitter, speed, tracks.

    python benchmarks/scripts/video.py [--frames N] [--detect-every N] [--clip FILE] [--bundle DIR]

The default detector finds people once; the same keypoints are then recovered in every way, in turn,
so that times compare. Prints a table; `--clip` keeps the video.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment

from dualhmr.body.files import read_body
from dualhmr.detection import Detections, open_detector
from dualhmr.detection.adapters import NamedDetector
from dualhmr.files import markdown_table
from dualhmr.motion import Motion, smooth
from dualhmr.recoverer import Recoverer
from dualhmr.video.frames import VideoFrame, VideoWriter
from dualhmr.video.people import TrackedPeople
from dualhmr.video.video_recoverer import VideoRecoverer
from dualhmr.video.video_recovery import TrackCollector
from dualhmr.video.warm_start import RESET, WarmOptions
from dualhmr_benchmarks.made_video import FPS, MadeVideo, make_video
from dualhmr_training.evaluation.metrics import mpjpe, pa_mpjpe

_SAME_PX = 30.0
"""A body whose joints are on average farther away is somebody else."""
WAYS: dict[str, dict[str, Any]] = {
    "cold, all steps": {"warm_start": False},
    "cold, 2 steps": {"warm_start": False, "max_steps": 2},
    "warm, 1": {"warm_start": WarmOptions(steps=1)},
    "warm, 2": {"warm_start": WarmOptions(steps=2)},
    "warm, 3": {"warm_start": WarmOptions(steps=3)},
}


@dataclass
class Result:
    """One way, over all frames."""

    joints: dict[int, dict[int, npt.NDArray[Any]]] = field(default_factory=dict)
    """(24, 3) by true person and frame."""
    tracks: dict[int, list[int]] = field(default_factory=dict)
    """By true person, the track in each frame where somebody was found there."""
    adaptation_ms: list[float] = field(default_factory=list)
    """A person."""
    resets: int = 0

    @property
    def switches(self) -> int:
        """How often a person's track changes."""
        pairs = (pair for numbers in self.tracks.values() for pair in itertools.pairwise(numbers))
        return sum(before != after for before, after in pairs)

    def smoothed(self, motions: dict[int, Motion]) -> "Result":
        """The same bodies, of the tracks' motions after smoothing."""
        joints = {track: smooth(motion) for track, motion in motions.items()}
        place = {
            (track, int(frame)): own
            for track, motion in joints.items()
            for frame, own in zip(motion.frames, motion.joints, strict=True)
        }
        chosen: dict[int, dict[int, npt.NDArray[Any]]] = {}
        for person, by_frame in self.joints.items():
            pairs = zip(by_frame, self.tracks[person], strict=True)
            chosen[person] = {
                frame: place[track, frame] for frame, track in pairs if (track, frame) in place
            }
        return Result(chosen, self.tracks, self.adaptation_ms, self.resets)

    def errors(self, video: MadeVideo) -> tuple[float, float, float]:
        """MPJPE and PA-MPJPE, mm; and the error of the acceleration, mm a frame squared."""
        found, true, jerks = [], [], []
        for person, by_frame in self.joints.items():
            frames = sorted(by_frame)
            own = np.stack([by_frame[frame] for frame in frames])
            truth = video.joints[frames, person]
            found.append(own)
            true.append(truth)
            difference = (own - own[:, :1]) - (truth - truth[:, :1])
            steady = np.diff(frames, 2) == 0
            steady &= np.diff(frames)[1:] == 1
            jerks.append(np.linalg.norm(np.diff(difference, 2, axis=0), axis=-1)[steady].ravel())
        pair = [torch.from_numpy(np.concatenate(each)).float() for each in (found, true)]
        errors = (float(each(*pair).mean()) for each in (mpjpe, pa_mpjpe))
        first, second = (1000 * error for error in errors)
        return first, second, 1000 * float(np.concatenate(jerks).mean())


def found_people(video: MadeVideo, every: int, clip: Path | None) -> list[tuple[Any, Detections]]:
    """Each frame, and its people by the default detector; those followed too."""
    people = TrackedPeople(open_detector(), detect_every=every)
    frames = [video.frame(number) for number in range(len(video))]
    if clip is not None:
        with VideoWriter(clip, fps=FPS) as writer:
            for number, pixels in enumerate(frames):
                writer.write(pixels, number / FPS)
    return [(pixels, people(pixels, number / FPS)[0]) for number, pixels in enumerate(frames)]


def recovered(
    video: MadeVideo, frames: list[tuple[Any, Detections]], ways: dict[str, VideoRecoverer]
) -> dict[str, Result]:
    """Every way, frame by frame in turn, so that they share what else the machine does."""
    results = {way: Result() for way in ways}
    collectors = {
        way: TrackCollector(each.recoverer.body, name="made", fps=FPS) for way, each in ways.items()
    }
    images = [VideoFrame(number, number / FPS, pixels) for number, (pixels, _) in enumerate(frames)]
    streams = {way: recoverer.frames(iter(images)) for way, recoverer in ways.items()}
    for _ in images:
        for way, stream in streams.items():
            found = next(stream)
            _add(results[way], found, video)
            collectors[way].add(found)
    for way, collector in collectors.items():
        tracks = collector.result(smoothed=False).tracks
        motions = {track.number: track.motion for track in tracks}
        results[f"{way}, smoothed"] = results[way].smoothed(motions)
    return results


def _add(result: Result, frame: Any, video: MadeVideo) -> None:
    recovery, number = frame.recovery, frame.frame.number
    if not len(recovery):
        return
    result.adaptation_ms.append(recovery.timings_ms["adaptation"] / len(recovery))
    result.resets += frame.starts.count(RESET)
    focal, middle = recovery.focal_length[:, None, None], recovery.principal_point[:, None]
    seen = focal * recovery.joints[..., :2] / recovery.joints[..., 2:] + middle
    away = np.linalg.norm(seen[:, None] - video.pixels[number][None], axis=-1).mean(-1)
    for row, person in zip(*linear_sum_assignment(away), strict=True):
        if away[row, person] < _SAME_PX:
            result.joints.setdefault(int(person), {})[number] = recovery.joints[row]
            result.tracks.setdefault(int(person), []).append(frame.tracks[row])


def _replaying(frames: list[tuple[Any, Detections]]) -> NamedDetector:
    """A detector that says of each frame, in order, what was found before."""
    turn: Iterator[Detections] = (people for _, people in frames)
    return NamedDetector("replay", lambda _: next(turn))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, makes the video, measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detect-every", type=int, default=1)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--clip", type=Path, help="an .mp4 to write the video to")
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    video = make_video(read_body(), frames=options.frames, seed=options.seed)
    frames = found_people(video, options.detect_every, options.clip)
    recoverer = Recoverer(options.bundle)
    ways = {
        way: VideoRecoverer(recoverer, detector=_replaying(frames), **settings)
        for way, settings in WAYS.items()
    }
    results = recovered(video, frames, ways)
    rows: list[tuple[str, ...]] = [
        ("start, steps", "MPJPE mm", "PA-MPJPE mm", "acceleration error", "ms a person", "resets",
         "found", "switches")
    ]  # fmt: skip
    for way, result in results.items():
        pose, aligned, jitter = result.errors(video)
        milliseconds = float(np.median(result.adaptation_ms))
        found = sum(map(len, result.joints.values())) / (3 * len(video))
        numbers = [f"{pose:.1f}", f"{aligned:.1f}", f"{jitter:.1f}", f"{milliseconds:.2f}"]
        rows.append((way, *numbers, str(result.resets), f"{found:.1%}", str(result.switches)))
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
