"""Crops whose every pixel is an average of the image pixels in it."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.camera import CROP_SIZE, CropSize


def crop_to_image_affine(
    box_center: npt.NDArray[np.floating], box_height: float, size: CropSize = CROP_SIZE
) -> npt.NDArray[np.float64]:
    """The (2, 3) affine from crop pixels to image pixels, pixel centres at whole numbers.

    `box_center` (2,) and `box_height` in image pixels. The crop's outer edges, half a pixel beyond
    its outermost pixel centres, fall on the box's edges.
    """
    scale = box_height / size.height
    offset = [
        float(box_center[0]) - scale * (size.width - 1) / 2,
        float(box_center[1]) - scale * (size.height - 1) / 2,
    ]
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def antialiased(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """A box smaller than the crop is interpolated, of a larger one every image pixel counts."""
    affine = crop_to_image_affine(box_center, box_height, size)
    crop = np.zeros((*size, 3), np.uint8)
    columns = _span(affine[0, 0], affine[0, 2], size.width, image.shape[1])
    rows = _span(affine[1, 1], affine[1, 2], size.height, image.shape[0])
    if columns.size and rows.size:
        resize_into(crop, image[rows.image, columns.image], columns, rows)
    return crop


class Span(NamedTuple):
    """The part of one axis of the crop that the image reaches."""

    size: int
    crop: slice
    """The crop pixels."""
    image: slice
    """The image pixels that they are resampled from."""
    low: float
    high: float
    """Outer edges of these crop pixels, in pixels from the edge of the first pixel resampled."""
    black: tuple[int, int] = (0, 0)
    """How many pixels outside of the image are resampled before and after the image's."""


def resize_into(
    crop: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], columns: Span, rows: Span
) -> None:
    """Resamples `pixels` by Pillow's bilinear filter into the part of `crop` that is theirs."""
    resized = Image.fromarray(pixels).resize(
        (columns.size, rows.size),
        Image.Resampling.BILINEAR,
        box=(columns.low, rows.low, columns.high, rows.high),
    )
    crop[rows.crop, columns.crop] = np.asarray(resized)


def _span(scale: float, offset: float, crop_size: int, image_size: int) -> Span:
    """The crop pixels wholly inside, i of which has its centre on `scale` i + `offset`."""
    edge = offset + 0.5 - scale / 2
    slack = 1e-3  # of a crop pixel: rounding must not cost boxes flush with the image a row
    first = max(0, math.ceil(-edge / scale - slack))
    last = min(crop_size, math.floor((image_size - edge) / scale + slack))
    low, high = max(0.0, edge + scale * first), min(float(image_size), edge + scale * last)
    # Pillow's bilinear filter reaches one output pixel, or one input pixel if that is larger.
    reach = math.ceil(max(scale, 1.0)) + 1
    start = max(0, math.floor(low) - reach)
    image = slice(start, max(start, math.ceil(high) + reach))
    return Span(max(0, last - first), slice(first, last), image, low - start, high - start)
