"""What `dualhmr recover` works on: photographs, their keypoint files, and folders for results."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.example import example
from dualhmr.images import list_images, read_image
from dualhmr.keypoints import KeypointFile, Keypoints, keypoint_file_for, open_keypoint_file


class Inputs(NamedTuple):
    """What one photograph is recovered from."""

    pixels: npt.NDArray[np.uint8]
    keypoints: Keypoints
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
    """The one of `--example`."""
    return Photograph("example", None, lambda: Inputs(*example(), None, ()), out)


def find_photographs(
    place: Path, keypoints: Path, options: KeypointOptions, *, max_pixels: int | None, out: Path
) -> list[Photograph]:
    """The photograph `place` with the results in `out`, or those of a folder with one folder each.

    Nothing is read but a keypoint file that is for all photographs. Raises FileNotFoundError for
    missing places, and ValueError for a keypoint file that is damaged.
    """
    if not keypoints.exists():
        raise FileNotFoundError(f"keypoint file or folder {keypoints} does not exist")
    # A file of many photographs is parsed once.
    open_cached = lru_cache(maxsize=1)(open_keypoint_file)
    if keypoints.is_file():
        open_cached(keypoints)
    if not place.is_dir():
        paths, folders = [place], [out]
    else:
        paths = list_images(place)
        folders = [out / name for name in folder_names([path.name for path in paths])]

    def photograph(path: Path, folder: Path) -> Photograph:
        def read() -> Inputs:
            file = keypoint_file_for(keypoints, path)
            return _read(path, open_cached(file), options, max_pixels=max_pixels)

        return Photograph(path.name, path, read, folder)

    return [photograph(path, folder) for path, folder in zip(paths, folders, strict=True)]


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
