"""The detector's rectangle around a person, where a keypoint file has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.frames import upright_points
from dualhmr.keypoints.records import PersonError, PersonRecord

Corners = NDArray[np.float64]


def person_rectangle(record: Mapping[str, object]) -> tuple[float, float, float, float] | None:
    """Return x0, y0, x1, y1 of a person as they are in the file; None without a usable rectangle.

    COCO's `bbox` and AlphaPose's `box` are x, y, width, height, MMPose's `bbox` is a list with the
    corners, Ultralytics' `box` an object with them.
    """
    value = record.get("bbox", record.get("box"))
    if isinstance(value, Mapping):
        return _corners([value.get(name) for name in ("x1", "y1", "x2", "y2")])
    if not isinstance(value, list):
        return None
    if len(value) == 1 and isinstance(value[0], list):
        return _corners(value[0][:4])
    if len(value) < 4 or not all(type(number) in (int, float) for number in value[:4]):
        return None
    x, y, width, height = value[:4]
    return _corners([x, y, x + width, y + height])


def _corners(numbers: list[object]) -> tuple[float, float, float, float] | None:
    if len(numbers) != 4 or not all(type(number) in (int, float) for number in numbers):
        return None
    try:
        x0, y0, x1, y1 = (float(number) for number in numbers)  # type: ignore[arg-type]
    except OverflowError:
        return None
    largest = max(abs(x0), abs(y0), abs(x1), abs(y1))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 and largest < 1e6 else None


def upright_rectangles(
    persons: Sequence[PersonRecord | PersonError],
    *,
    scale: tuple[float, float],
    orientation: int,
    upright_size: tuple[int, int] | None,
) -> list[Corners | None]:
    """Return each person's corners (4,) in pixels of the upright image.

    Those of the file are multiplied by `scale`, and then turned by `orientation`, EXIF's, of the
    image that they are of; 1 leaves them.
    """
    rectangles: list[Corners | None] = []
    for person in persons:
        corners = person.rectangle if isinstance(person, PersonRecord) else None
        if corners is None:
            rectangles.append(None)
            continue
        points = np.reshape(corners, (2, 2)) * scale
        if upright_size is not None:
            points = upright_points(points, orientation, upright_size)
        rectangles.append(np.concatenate([points.min(axis=0), points.max(axis=0)]))
    return rectangles
