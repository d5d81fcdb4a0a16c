"""Parts of a photograph as the detector's networks see them, and back from there."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.float32]

MULTIPLE = 32
"""Of which the networks' input sizes must be."""
_MOST_PIXELS = 16_000_000
"""A larger photograph is made smaller first: crops of it would need gigabytes."""
_WIDEST = 2.0
"""A photograph with a larger ratio of its sides is looked at in tiles, too."""
_TILE_RATIO = 1.5
_MOST_TILES = 32
_CROP_MARGIN = 1.4
"""Side of the second look's crop, in longer sides of the box around the keypoints."""


class Region(NamedTuple):
    """A part of a photograph, whole pixels; it may reach outside."""

    left: int
    top: int
    width: int
    height: int


class Picture(NamedTuple):
    """A region as a network sees it."""

    pixels: npt.NDArray[np.uint8]
    """(h, w, 3), padded with black to the right and below."""
    region: Region
    scale: tuple[float, float]
    """Pixels of the photograph in one of the picture, along x and y."""

    def to_photograph(self, points: FloatArray) -> FloatArray:
        """Points (..., 2) from the picture's edges -> pixels, (0, 0) the first one's centre."""
        origin = np.array(self.region[:2], np.float32) - np.float32(0.5)
        return (points * np.array(self.scale, np.float32) + origin).astype(np.float32)


def picture_of(photograph: Image.Image, region: Region, side: int) -> Picture:
    """A region whose longer side becomes `side` pixels."""
    longer = max(region.width, region.height)
    width, height = (max(1, round(size * side / longer)) for size in region[2:])
    box = (*region[:2], region.left + region.width, region.top + region.height)
    part = photograph if box == (0, 0, *photograph.size) else photograph.crop(box)
    small = part.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    padded = [math.ceil(size / MULTIPLE) * MULTIPLE for size in (height, width)]
    pixels = np.zeros((*padded, 3), np.uint8)
    pixels[:height, :width] = np.asarray(small)
    return Picture(pixels, region, (region.width / width, region.height / height))


def bounded(photograph: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
    """The photograph, made smaller if it is too large, and by how much along x and y."""
    width, height = photograph.size
    factor = math.sqrt(_MOST_PIXELS / (width * height))
    if factor >= 1:
        return photograph, (1.0, 1.0)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smaller = photograph.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return smaller, (width / size[0], height / size[1])


def first_regions(
    size: tuple[int, int], sides: Sequence[int], *, tiles: int
) -> Iterator[tuple[Region, int]]:
    """What the first look at a photograph (width, height) sees, and at which longer sides.

    The whole at each of `sides`; and overlapping parts at the first of them, `tiles` along each
    side, more along the longer side of a panorama.
    """
    width, height = size
    yield from ((Region(0, 0, width, height), side) for side in sides)
    shorter, longer = sorted(size)
    parts = [tiles, tiles]
    if longer > _WIDEST * shorter:
        # Each begins in the middle of the one before.
        count = math.ceil(2 * longer / (_TILE_RATIO * shorter)) - 1
        parts[size.index(longer)] = min(tiles * count, _MOST_TILES)
    if parts != [1, 1]:
        columns, rows = (_overlapping(*each) for each in zip(size, parts, strict=True))
        for (left, wide), (top, high) in itertools.product(columns, rows):
            yield Region(left, top, wide, high), sides[0]


def _overlapping(length: int, parts: int) -> list[tuple[int, int]]:
    """Starts and sizes of parts of which each overlaps the next by half."""
    size = min(length, math.ceil(2 * length / (parts + 1)))
    return [(round(part * (length - size) / max(parts - 1, 1)), size) for part in range(parts)]


def square_around(box: npt.NDArray[Any]) -> Region:
    """The second look's crop around a box (4,) of keypoints."""
    left, top, right, bottom = (float(each) for each in box)
    half = max(right - left, bottom - top) * _CROP_MARGIN / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    side = int(x + half) - int(x - half)
    return Region(int(x - half), int(y - half), side, side)
