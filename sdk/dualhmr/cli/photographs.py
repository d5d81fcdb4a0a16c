"""What `dualhmr recover` and `dualhmr detect` work on: photographs, keypoint files, folders."""

from __future__ import annotations

import os
import sys
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import EXPECTED_ERRORS, message_of
from dualhmr.example import example
from dualhmr.images import list_images, read_image
from dualhmr.keypoints import KeypointFile, Keypoints, keypoint_file_for, open_keypoint_file


class Inputs(NamedTuple):
    """What one photograph is recovered from."""

    pixels: npt.NDArray[np.uint8]
    keypoints: Keypoints | None
    """None: a detector is to find people."""
    boxes: list[npt.NDArray[np.float64] | None] | None
    """A rectangle of each person, where boxes are not made from the keypoints."""
    notes: tuple[str, ...]
    """What had to be decided to read them, for people."""


class Photograph(NamedTuple):
    """One photograph to recover from, and the folder for its results."""

    name: str
    path: Path | None
    read: Callable[[], Inputs]
    out: Path


class KeypointOptions(NamedTuple):
    """How keypoint files are read; see `KeypointFile.keypoints`."""

    keypoint_set: str | None
    points_frame: str | None
    score_scale: float
    min_confidence: float
    min_person_score: float
    boxes: str
    """One of `BOXES`."""


BOXES = ("keypoints", "file")
"""What a person's box is made from: the keypoints, or the rectangle in the keypoint file."""


def example_photograph(out: Path) -> Photograph:
    """The one of `--example`, without keypoints."""
    return Photograph("example", None, lambda: Inputs(example()[0], None, None, ()), out)


def find_photographs(
    place: Path,
    keypoints: Path | None,
    options: KeypointOptions,
    *,
    max_pixels: int | None,
    out: Path,
) -> list[Photograph]:
    """The photograph `place` with the results in `out`, or those of a folder with one folder each.

    Nothing is read but a keypoint file that is for all photographs. Raises FileNotFoundError for
    missing places, and ValueError for a keypoint file that is damaged.
    """
    if keypoints is None:
        return photographs_in(place, max_pixels=max_pixels, out=out)
    if not keypoints.exists():
        raise FileNotFoundError(f"keypoint file or folder {keypoints} does not exist")
    # A file of many photographs is parsed once.
    open_cached = lru_cache(maxsize=1)(open_keypoint_file)
    if keypoints.is_file():
        open_cached(keypoints)

    def photograph(path: Path, folder: Path) -> Photograph:
        def read() -> Inputs:
            file = keypoint_file_for(keypoints, path)
            return _read(path, open_cached(file), options, max_pixels=max_pixels)

        return Photograph(path.name, path, read, folder)

    return [photograph(path, folder) for path, folder in _paths_and_folders(place, out)]


def photographs_in(place: Path, *, max_pixels: int | None, out: Path) -> list[Photograph]:
    """The same without keypoints. Raises FileNotFoundError for a missing place."""

    def photograph(path: Path, folder: Path) -> Photograph:
        def read() -> Inputs:
            image = read_image(path, max_pixels=max_pixels)
            return Inputs(image.pixels, None, None, image.notes)

        return Photograph(path.name, path, read, folder)

    return [photograph(path, folder) for path, folder in _paths_and_folders(place, out)]


def _paths_and_folders(place: Path, out: Path) -> list[tuple[Path, Path]]:
    if not place.is_dir():
        return [(place, out)]
    paths = list_images(place)
    names = folder_names([path.name for path in paths])
    return [(path, out / name) for path, name in zip(paths, names, strict=True)]


class Outcome(NamedTuple):
    """What became of one photograph."""

    report: dict[str, Any]
    lines: Sequence[str]
    """The same for people."""


def attempt(work: Callable[[], Outcome]) -> Outcome | Exception:
    """What `work` returns or raises: one photograph never costs the rest."""
    try:
        return work()
    except Exception as error:
        return error


def report_each(
    photographs: Sequence[Photograph],
    outcomes: Generator[Outcome | Exception, None, None],
    reports: dict[str, dict[str, Any]],
) -> int:
    """Prints and adds what became of each, and returns how many could not be used.

    The report of one that cannot be used is the error.
    """
    with closing(outcomes):  # also where one is interrupted
        for number, photograph in enumerate(photographs, start=1):
            outcome = next(outcomes)
            print(f"[{number}/{len(photographs)}] {photograph.name}", file=sys.stderr)
            reports[photograph.name] = _said(outcome)
    failed = sum("error" in each for each in reports.values())
    if failed:
        print(f"{failed} of {len(reports)} photographs could not be used", file=sys.stderr)
    return failed


def _said(outcome: Outcome | Exception) -> dict[str, Any]:
    """Prints it, and returns the report."""
    if isinstance(outcome, Outcome):
        print_lines(outcome)
        return outcome.report
    message = message_of(outcome)
    if not isinstance(outcome, EXPECTED_ERRORS):
        traceback.print_exception(outcome)
    print(f"  error: {message}", file=sys.stderr)
    return {"error": message}


def print_lines(outcome: Outcome) -> None:
    """Those for people."""
    for line in outcome.lines:
        print(f"  {line}", file=sys.stderr)


def check_writable(folder: Path) -> None:
    """Makes `folder`. If it cannot be written to, this is an error before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(f"{folder} is a file; --out takes a folder") from error
    except PermissionError as error:
        raise PermissionError(f"no permission to make the folder {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write in the folder {folder}")


def check_inputs_stay(photographs: Sequence[Photograph], results: Sequence[Path]) -> None:
    """Raises ValueError where a result would replace a photograph."""
    inputs = {each.path.resolve() for each in photographs if each.path is not None}
    for target in results:
        if target.resolve() in inputs:
            raise ValueError(
                f"{target} is a photograph, and results would replace it; choose another --out"
            )


def _read(
    path: Path, file: KeypointFile, options: KeypointOptions, *, max_pixels: int | None
) -> Inputs:
    image = read_image(path, max_pixels=max_pixels)
    height, width = image.pixels.shape[:2]
    reading = options._asdict()
    from_file = reading.pop("boxes") == "file"
    where: dict[str, Any] = {
        "image_name": path.name,
        "image_size": (width, height),
        "exif_orientation": image.orientation,
    }
    keypoints = file.keypoints(**where, **reading)
    boxes = None
    if from_file:
        names = ("points_frame", "keypoint_set", "min_person_score")
        boxes = file.boxes(**where, **{name: reading[name] for name in names})
        if boxes and all(each is None for each in boxes):
            raise ValueError(f"{file.path} has no boxes of persons; leave --boxes file out")
    return Inputs(image.pixels, keypoints, boxes, image.notes)


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder name for every photograph of a folder, no two alike on any disk.

    It is the name without suffix, or the full name where that is not the only one: `p.jpg` and
    `p.png` of those two. Names that differ in case or in the composition of accents only are alike.
    """
    chosen = [Path(name).stem for name in names]
    # Once more, as a full name may be another's stem: that of p.jpg.png is p.jpg.
    for _ in range(2):
        alike = Counter(map(_on_disk, chosen))
        chosen = [
            folder if alike[_on_disk(folder)] == 1 else name
            for folder, name in zip(chosen, names, strict=True)
        ]
    taken: set[str] = set()
    for index, folder in enumerate(chosen):
        number = 1
        while _on_disk(chosen[index]) in taken:
            number += 1
            chosen[index] = f"{folder}-{number}"
        taken.add(_on_disk(chosen[index]))
    return chosen


def _on_disk(name: str) -> str:
    """What disks that ignore case and composition (macOS, Windows) take a name for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
