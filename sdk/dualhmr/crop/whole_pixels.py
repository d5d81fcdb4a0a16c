"""Crops of boxes of whole image pixels, resized edges on edges: those of CLIFF and of SPIN."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dualhmr.camera import CropSize
from dualhmr.crop.antialiased import Span, resize_into
from dualhmr.crop.bilinear import bilinear, taps_at


def _whole_corners(
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
    whole: Callable[[float], int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The box's first pixel (x, y) and the one after its last, made whole numbers by `whole`.

    A corner that lies on the border between two whole numbers falls to the one or the other as the
    inverse of this matrix rounds it. The releases' code computes it so, too.
    """
    height = max(box_height, 1e-6)
    to_crop = np.eye(3)
    for axis, (pixels, extent) in enumerate(
        ((size.width, height / (size.height / size.width)), (size.height, height))
    ):
        to_crop[axis, axis] = pixels / extent
        to_crop[axis, 2] = pixels * (0.5 - float(box_center[axis]) / extent)
    to_image = np.linalg.inv(to_crop)
    low = [whole(x) for x in to_image @ np.array([0.0, 0.0, 1.0])]
    high = [whole(x) for x in to_image @ np.array([size.width, size.height, 1.0])]
    return (low[0], low[1]), (max(high[0], low[0] + 1), max(high[1], low[1] + 1))


def rounded(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """The box's corners are whole image pixels."""
    taps = []
    corners = _whole_corners(box_center, box_height, size, round)
    for axis, (low, high) in enumerate(zip(*corners, strict=True)):
        pixels = size[1 - axis]
        position = low + (np.arange(pixels) + 0.5) * ((high - low) / pixels) - 0.5
        # A resized picture ends at its edge pixels.
        inside = np.clip(position, low, high - 1)
        taps.append(taps_at(inside, image.shape[1 - axis]))
    return bilinear(image, *taps)


_LARGEST_BOX = 64
"""How many times the image's longer side a box's side may be, before its crop is black."""
_WHOLE_BOX = 2048
"""The side in pixels of the largest box whose black surroundings all go into memory; boxes not much
larger than their image do anyway."""


def stretched(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """The box's corners are cut off to whole pixels, its least and largest value made 0 and 255."""
    crop = np.zeros((*size, 3), np.uint8)
    low, high = _whole_corners(box_center, box_height, size, int)
    side = max(high[0] - low[0], high[1] - low[1])
    if side > _LARGEST_BOX * max(image.shape):
        return crop  # the image would be a dot in it
    whole = side <= max(_WHOLE_BOX, 1.5 * max(image.shape))
    columns, rows = (
        _box_span(low[axis], high[axis], size[1 - axis], image.shape[1 - axis], whole)
        for axis in (0, 1)
    )
    seen = image[max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)]
    if not (seen.size and columns.size and rows.size):
        return crop
    sticks_out = min(low) < 0 or high[0] > image.shape[1] or high[1] > image.shape[0]
    darkest, brightest = (0 if sticks_out else int(seen.min())), int(seen.max())
    # SPIN resizes a picture of floats, and SciPy's `imresize` stretches the contrast of such.
    per_value = 255.0 / max(brightest - darkest, 1)
    table = ((np.arange(256) - darkest) * per_value + 0.5).clip(0, 255.5).astype(np.uint8)
    inside = np.pad(table[image[rows.image, columns.image]], (rows.black, columns.black, (0, 0)))
    resize_into(crop, inside, columns, rows)
    return crop


def _box_span(low: int, high: int, crop_size: int, image_size: int, whole: bool) -> Span:
    """The box is the pixels from `low` to `high` - 1, and `crop_size` is its size in the crop.

    All of it if `whole`: exact, where Pillow's edges between pixels have 24 bits only.
    """
    scale = (high - low) / crop_size
    reach = max(scale, 1.0)  # of Pillow's bilinear filter, in image pixels
    first, last = 0, crop_size
    if not whole:
        first = min(max(0, math.floor((-low - reach) / scale)), crop_size)
        last = min(max(first, math.ceil((image_size - low + reach) / scale)), crop_size)
    edges = low + first * scale, min(low + last * scale, high)
    start = max(low, math.floor(edges[0] - reach))
    stop = min(high, math.ceil(edges[1] + reach))
    image = slice(min(max(start, 0), image_size), min(max(stop, 0), image_size))
    black = image.start - start, stop - image.stop
    return Span(last - first, slice(first, last), image, edges[0] - start, edges[1] - start, black)
