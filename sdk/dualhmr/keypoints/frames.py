"""Keypoints of a photograph that is stored turned: which way up were they marked?

Cameras store a photograph as the sensor saw it, the raw image, and say in EXIF how to turn it to be
upright. Some tools show and measure one, some the other, and some mix them: Label Studio exports
points of the upright image with the size of the raw one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.names import in_one_order
from dualhmr.keypoints.records import ImageRecord, PersonError, PersonRecord, Points
from dualhmr.keypoints.sets import KeypointSet

FRAMES = ("upright", "raw")

_TOLERANCE_PX = 1.0
"""By which points at the edge of an image may lie outside of it."""
_FAR_OUTSIDE = 0.05
"""Shares of the image's size that points of people at its edge may lie outside of it."""


def upright_points(
    xy: NDArray[np.float64], orientation: int, upright_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return points (..., 2) of the raw image in the upright one, both in pixels.

    `orientation` is EXIF's, 1 to 8; `upright_size` is (width, height).
    """
    x, y = xy[..., 0], xy[..., 1]
    right, bottom = upright_size[0] - 1, upright_size[1] - 1
    turned = {
        2: (right - x, y),
        3: (right - x, bottom - y),
        4: (x, bottom - y),
        5: (y, x),
        6: (right - y, x),
        7: (right - y, bottom - x),
        8: (y, bottom - x),
    }.get(orientation, (x, y))
    return np.stack(turned, axis=-1)


def in_upright_image(
    points: Points,
    *,
    image_size: tuple[int, int] | None,
    listed_size: tuple[int, int] | None,
    orientation: int,
    frame: str | None,
) -> Points:
    """Return keypoints (P, K, 3) of a file in the upright image.

    `image_size` is the upright image's, `listed_size` the file's, (width, height). Without `frame`
    ("upright", "raw") what fits decides: the points are taken for upright, unless the sizes or the
    points speak against it. Raises ValueError if that cannot be decided, or for other sizes.
    """
    if frame not in (None, *FRAMES):
        raise ValueError(f"points_frame is {frame!r}; expected one of {', '.join(FRAMES)}")
    if image_size is None:
        if frame == "raw":
            raise ValueError("points_frame='raw' needs image_size")
        return points
    sideways = orientation in (5, 6, 7, 8)
    raw_size = image_size[::-1] if sideways else image_size
    swapped = listed_size is not None and listed_size != image_size
    if swapped and (listed_size != image_size[::-1] or (not sideways and frame is None)):
        raise ValueError(_other_size(image_size, listed_size))
    if frame is None and sideways:
        frame = _fitting_frame(points, image_size, raw_size, swapped)
    if frame != "raw":
        return points
    turned = points.copy()
    labelled = points[..., 2] > 0
    turned[labelled, :2] = upright_points(points[labelled, :2], orientation, image_size)
    return turned


def _fitting_frame(
    points: Points, upright: tuple[int, int], raw: tuple[int, int], swapped: bool
) -> str:
    """The frame that all labelled points lie in. Raises ValueError if both or none explain it."""
    xy = points[points[..., 2] > 0][:, :2]
    fits_upright, fits_raw = _fits(xy, upright, _TOLERANCE_PX), _fits(xy, raw, _TOLERANCE_PX)
    if len(xy) == 0 or (not swapped and _fits(xy, upright, _FAR_OUTSIDE * max(upright))):
        return "upright"
    if swapped and fits_upright != fits_raw:
        return "upright" if fits_upright else "raw"
    if not swapped and not fits_raw:
        return "upright"
    what = f"the file says that the image is {raw[0]}x{raw[1]}, as it is stored" if swapped else ""
    what = what or f"keypoints lie outside of the image, which is {upright[0]}x{upright[1]} upright"
    raise ValueError(
        f"{what}; EXIF turns it to {upright[0]}x{upright[1]}. Either the keypoints are of the "
        "stored image, and must be turned with it, or they are of the upright image, and only the "
        "size in the file is not. Say which: points_frame='raw' or 'upright' (--points-frame)"
    )


def _fits(xy: NDArray[np.float64], size: tuple[int, int], tolerance: float) -> bool:
    return bool(((xy >= -tolerance) & (xy <= np.asarray(size) + tolerance)).all())


def _other_size(image_size: tuple[int, int], listed: tuple[int, int] | None) -> str:
    width, height = listed or (0, 0)
    turned = (
        "; one of them was turned: if the keypoints are of the image as it is, pass "
        "points_frame='upright' (--points-frame upright)"
        if (height, width) == image_size
        else "; keypoints must be in pixels of the image that is given"
    )
    return (
        f"image and keypoint file do not match: the image is {width}x{height} in the file, but "
        f"{image_size[0]}x{image_size[1]} as it was read{turned}"
    )


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
