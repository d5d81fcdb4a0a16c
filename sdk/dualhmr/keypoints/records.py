"""What is written in a keypoint file, image by image and person by person.

The readers of the layouts (`coco`, `openpose`, `detectors`) return these; `files` makes `Keypoints`
of them. A person that cannot be read is an `PersonError` in the person's place, so that the others
keep their numbers.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualhmr.untrusted import brief

Points = NDArray[np.float64]

_EXAMPLES = 3
"""How many images an error lists."""


class PersonError(ValueError):
    """Why one person of a file cannot be read."""


class LowScoreError(PersonError):
    """The detector itself does not believe in a person."""


class KeypointNamesError(PersonError):
    """Nothing says what the keypoints of a person are; a `keypoint_set` may."""


class PersonRecord(NamedTuple):
    """One person of a file."""

    points: Points
    """(K, 3) x, y, confidence as they are in the file; a missing keypoint is all zeros."""
    names: tuple[str | None, ...] | KeypointNamesError | None = None
    """(K,) what the file says the keypoints are, None for one that is not known; an error if they
    are not a person's; None if the file does not say it, and their number must."""
    score: float | None = None
    """The detector's score of the person, 0 to 1 for most detectors."""
    rectangle: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 around the person, as in the file."""


@dataclass(frozen=True)
class ImageRecord:
    """One image of a file."""

    name: str | int | None
    """File name, or number; None if the file does not say which image it is of."""
    persons: Callable[[], Sequence[PersonRecord | PersonError]]
    """Reads the persons, in the file's order."""
    size: tuple[int, int] | None = None
    """Width and height in the file, pixels."""
    may_be_relative: bool = False
    """Coordinates from 0 to 1 are fractions of the image's size."""


def read_persons(
    items: Sequence[object], read: Callable[[object], PersonRecord]
) -> list[PersonRecord | PersonError]:
    """Return `read(item)` for every item, or the `PersonError` that it raises."""
    persons: list[PersonRecord | PersonError] = []
    for item in items:
        try:
            persons.append(read(item))
        except PersonError as problem:
            persons.append(problem)
    return persons


def triplets(values: object, what: str) -> Points:
    """Return (K, 3) x, y, confidence from a flat list of them, or from a list of rows.

    Rows may lack the confidence, which then is 1. Nothing (null, an empty list) is (0, 3).
    Raises PersonError, naming the list as `what`, for anything else.
    """
    if values is None or values == []:
        return np.zeros((0, 3))
    if not isinstance(values, list):
        raise PersonError(f"{what} must be a list of x, y, confidence, but is {brief(values)}")
    if any(isinstance(row, list) for row in values):
        columns = {len(row) for row in values if isinstance(row, list)}
        if len(columns) != 1 or not columns <= {2, 3}:
            raise PersonError(f"{what} must hold rows of x, y or x, y, confidence")
        (count,) = columns
        empty = [None] * count
        flat = [number for row in values for number in (empty if row is None else _row(row, what))]
        points = numbers(flat, what).reshape(-1, count)
        points = points if count == 3 else np.column_stack([points, np.ones(len(points))])
    elif len(values) % 3:
        raise PersonError(
            f"{what} must be a flat list of x, y, confidence, but is {len(values)} values"
        )
    else:
        points = numbers(values, what).reshape(-1, 3)
    return without_missing(points)


def _row(row: object, what: str) -> list[object]:
    if not isinstance(row, list):
        raise PersonError(f"{what} must hold rows of x, y, confidence, but holds {brief(row)}")
    return row


def numbers(values: Sequence[object], what: str) -> Points:
    """Return a list of numbers as float64; null becomes NaN.

    Raises PersonError for anything else.
    """
    for value in values:
        if value is not None and type(value) not in (int, float):
            raise PersonError(f"{what} must hold numbers only, but holds {brief(value)}")
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except OverflowError as error:
        raise PersonError(f"{what} holds a number that is too large") from error


def without_missing(points: Points) -> Points:
    """Return (K, 3) with zeros where tools say that a keypoint is missing.

    They write it as (0, 0) or (-1, -1), whatever its confidence is, as null, or as NaN. A keypoint
    with a number beyond single precision is missing, too.
    """
    xy, finite = points[:, :2], np.abs(points) < np.finfo(np.float32).max
    missing = (xy == 0).all(axis=1) | (xy == -1).all(axis=1) | ~finite.all(axis=1)
    return np.where(missing[:, None], 0.0, points)


def person_score(record: Mapping[str, object]) -> float | None:
    """Return the detector's score of a person; None without one.

    It is called "score" in COCO's results, "bbox_score" by MMPose, "confidence" by Ultralytics. A
    score of 0 is none: OpenPose writes it, and no detector returns a person with it.
    """
    for field in ("score", "bbox_score", "confidence"):
        score = record.get(field)
        if isinstance(score, list) and len(score) == 1:
            (score,) = score
        if isinstance(score, int | float) and 0 < score < math.inf:
            return float(min(score, 1e9))  # JSON's integers may be too large for a float
    return None


def number_key(value: object) -> object:
    """Return what two ids of a file have in common if they mean the same: 1, 1.0, "1".

    Text with leading zeros stays text: "01" and "1" may be two images.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and f"{int(text)}" == text else text
    return value if type(value) is int else brief(value)


def find_image(image_name: str | None, listed: Sequence[str | int | None]) -> int:
    """Return the position in `listed` of the image called `image_name`, a name or a path.

    Compares trailing folders as far as both have them, then names, then names without suffix,
    then without regard to case, because files are moved and converted after they are annotated;
    and at last the number in the name, because COCO's results have numbers. Without `image_name`,
    a single listed image is taken. Raises ValueError if none or several match.
    """
    if len(listed) == 1 and (image_name is None or listed[0] is None):
        return 0
    names = [str(name) for name in listed if name is not None]
    examples = ", ".join(map(_short, names[:_EXAMPLES])) + (", ..." if len(names) > 3 else "")
    if len(names) < len(listed):
        raise ValueError(
            f"it holds {len(listed)} images and does not say which is which; write one file per "
            "image, photo.json for photo.jpg"
        )
    if image_name is None:
        raise ValueError(
            f"it lists {len(listed)} images ({examples}); say which one with image_name"
        )
    wanted, paths = _path(image_name), [_path(name) for name in names]
    digits = _last_number(wanted.stem)
    for found in (
        [i for i, path in enumerate(paths) if path.parts == wanted.parts[-len(path.parts) :]],
        [i for i, path in enumerate(paths) if path.name == wanted.name],
        [i for i, path in enumerate(paths) if path.stem == wanted.stem],
        [i for i, path in enumerate(paths) if path.stem.casefold() == wanted.stem.casefold()],
        [i for i, name in enumerate(names) if digits is not None and name == str(digits)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            matching = ", ".join(_short(names[i]) for i in found[:_EXAMPLES])
            raise ValueError(
                f"{len(found)} images listed in it could be {_short(image_name)!r} ({matching}); "
                "give image_name as it is written there"
            )
    raise ValueError(
        f"image {_short(image_name)!r} is not listed in it; it lists {len(listed)} images "
        f"({examples})"
    )


def _path(name: str) -> PurePosixPath:
    # Files annotated on Windows; and macOS writes an accent as a character of its own.
    return PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def _last_number(stem: str) -> int | None:
    """The number at the end of a stem: OpenPose's and AlphaPose's id of an image."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if 0 < len(digits) <= 18 else None


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:40]}...{name[-40:]}"
