"""The persons of one image of a keypoint file, in pixels of the upright image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dualhmr.keypoints.frames import in_upright_image
from dualhmr.keypoints.names import in_one_order
from dualhmr.keypoints.records import ImageRecord, PersonError, PersonRecord, Points
from dualhmr.keypoints.sets import KeypointSet


class UprightPersons(NamedTuple):
    """The persons of one image, by their numbers in the file."""

    set: KeypointSet
    points: Points
    """(P, K, 3) in the upright image."""
    problems: dict[int, str]
    scale: tuple[float, float]
    """Pixels of what the file's coordinates are in."""
    orientation: int
    """EXIF's, that points were turned by; 1 where they were not."""


def read_upright(
    image: ImageRecord,
    persons: Sequence[PersonRecord | PersonError],
    wanted: KeypointSet | None,
    image_size: tuple[int, int] | None,
    exif_orientation: int,
    points_frame: str | None,
) -> UprightPersons:
    """Keypoints in one order, in pixels, and turned as EXIF turns the image.

    Raises ValueError where one of these cannot be decided; see `KeypointFile.keypoints`.
    """
    chosen, points, problems = in_one_order(persons, wanted)
    scale = (1.0, 1.0)
    if image.may_be_relative:
        in_pixels = _in_pixels(points, image_size)
        if in_pixels is not points and image_size is not None:
            scale = (float(image_size[0]), float(image_size[1]))
        points = in_pixels
    upright = in_upright_image(
        points,
        image_size=image_size,
        listed_size=image.size,
        orientation=exif_orientation,
        frame=points_frame,
    )
    return UprightPersons(
        chosen, upright, problems, scale, 1 if upright is points else exif_orientation
    )


def _in_pixels(points: Points, image_size: tuple[int, int] | None) -> Points:
    """Ultralytics' keypoints, which may be fractions of the image's size."""
    xy = points[points[..., 2] > 0][:, :2]
    if not len(xy) or xy.max() > 1 or xy.min() < 0:
        return points
    if image_size is None:
        raise ValueError("its coordinates are fractions of the image's size: pass image_size")
    return points * (*image_size, 1)
