"""What one process of a job does: it opens a `Recoverer` once, and works on item after item."""

import json
import os
import platform
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dualhmr.arguments import message_of
from dualhmr.compiling import compiled_anew
from dualhmr.detection import NamedDetector, open_detector
from dualhmr.engines import EngineOptions
from dualhmr.image_files import PHOTOGRAPH
from dualhmr.images import read_image
from dualhmr.jobs.items import JobItem
from dualhmr.jobs.job_folder import complete_folder
from dualhmr.keypoints import MIN_PERSON_SCORE
from dualhmr.outputs import describe_people, to_json, write_outputs
from dualhmr.recoverer import Recoverer, RecovererOptions
from dualhmr.recovery import OVERLAY_COLORS

RESULT = "result.json"


@dataclass(frozen=True)
class JobOptions(RecovererOptions):
    """How the items of a job are recovered; the defaults are those of `dualhmr.recover`."""

    threads: int = 1
    """CPU threads of each process. More of them may round differently."""
    detector: str | None = None
    """A name, see `dualhmr.open_detector`; a function cannot go to other processes."""
    min_person_score: float = MIN_PERSON_SCORE
    """Of those who are found; others are left out."""
    schedule: str | None = None
    max_steps: int | None = None
    iterate: str | None = None
    focal_length: float | None = None
    """Image pixels; None: the guess of the bundle's networks."""
    max_pixels: int | None = None
    """Larger photographs are refused before they are decoded; None: 179 million."""
    save: tuple[str, ...] = ("npz",)
    """What is written of a photograph besides `result.json`, as by `dualhmr recover --save`.
    Of a video, `overlay` is a video."""
    color: str = OVERLAY_COLORS[0]
    """Of a photograph's `overlay` and `steps`, one of `OVERLAY_COLORS`."""
    motion_formats: tuple[str, ...] = ("npz",)
    """Of the motion files of a video: `npz`, `glb`, `bvh`, `trc`, `smpl`."""
    detect_every: int = 1
    """The detector runs on every n-th frame of a video."""


class Outcome(NamedTuple):
    """How one item ended."""

    item: str
    """Its name."""
    error: str | None = None
    """None: its results are complete."""
    persons: int | None = None
    """Of a photograph; of a video the number of tracks."""
    seconds: float | None = None
    where: str | None = None
    """The machine and process."""


class Renewal(Exception):  # noqa: N818
    """A process that compiled loops is to be replaced by one that takes them from the disk.

    Machine code just compiled rounds differently, so an interrupted job would end in other bytes.
    """


@dataclass(frozen=True)
class JobWorker:
    """Works on items; sent to the process that does."""

    options: JobOptions
    results: Path
    unfinished: Path
    renews: bool = True
    """Whether a process that compiled loops asks for its renewal."""

    def __call__(self, item: JobItem) -> Outcome | Renewal:
        """Writes the results of an item. Only an error that all items would have is raised."""
        start = time.perf_counter()
        where = f"{platform.node()}:{os.getpid()}"
        recoverer, detector = self.recoverer, self.detector
        persons, error = None, None
        try:
            with complete_folder(self.unfinished, self.results / item.name) as folder:
                if item.kind == PHOTOGRAPH:
                    persons = self._photograph(recoverer, detector, item, folder)
                else:
                    persons = self._video(recoverer, detector, item, folder)
                if self.renews and compiled_anew():
                    raise Renewal
        except Renewal as renewal:
            return renewal
        except Exception as raised:  # of any kind: one item never costs the rest
            error = message_of(raised)
        return Outcome(item.name, error, persons, round(time.perf_counter() - start, 3), where)

    @cached_property
    def recoverer(self) -> Recoverer:
        """Opened in the process that works."""
        return self.options.open()

    @cached_property
    def detector(self) -> NamedDetector:
        """Likewise."""
        options = self.options
        return open_detector(
            options.detector,
            min_score=options.min_person_score,
            engine=EngineOptions(threads=options.threads),
        )

    def _photograph(
        self, recoverer: Recoverer, detector: NamedDetector, item: JobItem, folder: Path
    ) -> int:
        options = self.options
        image = read_image(item.path, max_pixels=options.max_pixels)
        recovery = recoverer.recover(
            image.pixels,
            detector=detector,
            schedule=options.schedule,
            max_steps=options.max_steps,
            iterate=options.iterate,
            focal_length=options.focal_length,
        )
        title = Path(item.path).name
        write_outputs(
            recovery, image.pixels, folder, options.save, title=title, color=options.color
        )
        described = describe_people(recovery) | {"notes": list(image.notes)}
        (folder / RESULT).write_text(to_json(described) + "\n", encoding="utf-8")
        return len(recovery)

    def _video(
        self, recoverer: Recoverer, detector: NamedDetector, item: JobItem, folder: Path
    ) -> int:
        from dualhmr.video import VideoReader, recover_video

        options = self.options
        found = recover_video(
            item.path,
            recoverer=recoverer,
            detector=detector,
            schedule=options.schedule,
            max_steps=options.max_steps,
            detect_every=options.detect_every,
            focal_length=options.focal_length,
        )
        found.save_motions(folder, formats=options.motion_formats)
        found.save_tracks(folder / "tracks.json", formats=options.motion_formats)
        if "overlay" in options.save:
            with VideoReader(item.path) as frames:
                found.save_overlay(folder / "overlay.mp4", iter(frames))
        return len(found.tracks)


def not_read(item: JobItem) -> Outcome:
    """Of a file that is no photograph and no video."""
    return Outcome(item.name, f"{item.path} is {item.kind}")


def as_record(outcome: Outcome, seen: dict[str, int]) -> dict[str, object]:
    """A line of items.jsonl. `seen` is the file's size and time, by which a change is found."""
    status = "done" if outcome.error is None else "failed"
    plain = {name: value for name, value in outcome._asdict().items() if value is not None}
    record: dict[str, object] = json.loads(json.dumps(plain | {"status": status} | seen))
    return record
