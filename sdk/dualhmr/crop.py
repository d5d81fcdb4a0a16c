"""Crops a person out of a photograph, with a single resampling.

Networks have to see crops that are made as those they were trained on: half a pixel aside, features
of the released networks change by a few per cent. So a bundle's manifest names a convention:

- `dualhmr`: the outer edges of the crop fall on the edges of the box; antialiased. Our training.
- `meta_hmr`: the box's centre falls on the crop's pixel (96, 128); bilinear interpolation between
  four pixels, whatever the box's size; black is blended in at the image's border. The Meta-HMR
  release.
- `cliff`: the box's corners are rounded to whole image pixels, pixels outside of the image are
  black, and the result is resized bilinearly, edges on edges, without antialiasing. CLIFF's demo.
- `spin`: square, 224x224. The box's corners are cut off to whole image pixels, pixels outside of
  the image are black, the contrast is stretched to 0..255, and the result is resized with
  antialiasing, edges on edges. SPIN's code, training and demo alike.
- `hmr2`: as `meta_hmr`, from an image that is blurred where the box is more than 2.2 times the size
  of the crop. The box has no margin: HMR2.0's demo takes a detector's rectangle as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.camera import BOX_MARGIN, CROP_SIZE, CropSize


@dataclass(frozen=True)
class CropConvention:
    """How a person is cut out of a photograph; networks see crops as those they were trained on."""

    name: str
    resampling: Literal["antialiased", "centred", "rounded", "stretched", "blurred"]
    """How crop pixels are read from the image, and where the box lies on them."""
    size: CropSize = CROP_SIZE
    """Pixels of the crop; the box has its aspect ratio."""
    margin: float = BOX_MARGIN
    """Of a box around keypoints: its height over that of the keypoints' rectangle."""


CROP_CONVENTIONS = {
    convention.name: convention
    for convention in (
        CropConvention("dualhmr", "antialiased"),
        CropConvention("meta_hmr", "centred"),
        CropConvention("cliff", "rounded"),
        CropConvention("spin", "stretched", CropSize(224, 224)),
        CropConvention("hmr2", "blurred", margin=1.0),
    )
}


def crop_convention(name: str) -> CropConvention:
    """The convention called `name`; raises ValueError for an unknown one."""
    if name not in CROP_CONVENTIONS:
        known = ", ".join(CROP_CONVENTIONS)
        raise ValueError(f"unknown crop convention {name!r}; known are {known}")
    return CROP_CONVENTIONS[name]


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


def crop_person(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    *,
    convention: str = "dualhmr",
) -> npt.NDArray[np.uint8]:
    """`image` (H, W, 3) uint8 RGB -> the crop (256, 192, 3) uint8, or of the convention's size.

    `box_center` (2,) and `box_height` in image pixels. `convention` is one of `CROP_CONVENTIONS`.
    Crop pixels outside of the image are black.

    Raises ValueError for a box that is not finite or has no height, or an unknown convention.
    """
    how = crop_convention(convention)
    if not (np.isfinite(box_center).all() and math.isfinite(box_height) and box_height > 0):
        raise ValueError(
            f"box at {box_center} of height {box_height}, expected finite and positive"
        )
    return _RESAMPLINGS[how.resampling](image, box_center, box_height, how.size)


def _antialiased(
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
        inside = Image.fromarray(image[rows.image, columns.image]).resize(
            (columns.size, rows.size),
            Image.Resampling.BILINEAR,
            box=(columns.low, rows.low, columns.high, rows.high),
        )
        crop[rows.crop, columns.crop] = np.asarray(inside)
    return crop


def _centred(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """The crop pixel of half the size, (96, 128) of 192x256, is the box's centre."""
    return _bilinear(image, *_centred_taps(image, box_center, box_height, size))


_BLURRED_FROM = 1.1
"""Half the size of an image pixel in the crop's; smaller images are not blurred."""
_BLUR_REACH, _LARGEST_SIGMA = 4.0, 250.0


def _blurred(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """As `_centred`; a Gaussian blurs the image first where crop pixels lie far apart in it.

    Blur and interpolation are weighted sums along rows and columns, so one pass does both. The
    image's edge is repeated for the blur, and black for the interpolation. HMR2.0 does not round
    these crops to 8 bits, as we do.
    """
    columns, rows = _centred_taps(image, box_center, box_height, size)
    half_scale = box_height / size.height / 2
    if half_scale <= _BLURRED_FROM:
        return _bilinear(image, columns, rows)
    sigma = min((half_scale - 1) / 2, _LARGEST_SIGMA)
    reach = int(_BLUR_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    columns, rows = (
        _Taps(
            np.clip(taps.pixels[:, None] + offsets[:, None], 0, length - 1).reshape(-1, pixels),
            (taps.weights[:, None] * kernel[:, None]).reshape(-1, pixels).astype(np.float32),
        )
        for taps, length, pixels in (
            (columns, image.shape[1], size.width),
            (rows, image.shape[0], size.height),
        )
    )
    first = columns.pixels.min()
    strip = image[:, first : columns.pixels.max() + 1]
    lines = np.zeros((size.height, *strip.shape[1:]), np.float32)
    for pixels, weights in zip(*_that_count(rows), strict=True):
        lines += weights[:, None, None] * strip[pixels]
    crop = np.zeros((*size, 3), np.float32)
    for pixels, weights in zip(*_that_count(columns), strict=True):
        crop += weights[:, None] * lines[:, pixels - first]
    return np.rint(crop).astype(np.uint8)


def _that_count(taps: "_Taps") -> "_Taps":
    """Without those that are zero everywhere, as for boxes far larger than the image."""
    counts = taps.weights.any(axis=1)
    return _Taps(taps.pixels[counts], taps.weights[counts])


def _rounded(
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
        taps.append(_taps(inside, image.shape[1 - axis]))
    return _bilinear(image, *taps)


def _stretched(
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
    resized = Image.fromarray(inside).resize(
        (columns.size, rows.size),
        Image.Resampling.BILINEAR,
        box=(columns.low, rows.low, columns.high, rows.high),
    )
    crop[rows.crop, columns.crop] = np.asarray(resized)
    return crop


_LARGEST_BOX = 64
"""How many times the image's longer side a box's side may be, before its crop is black."""
_WHOLE_BOX = 2048
"""The side in pixels of the largest box whose black surroundings all go into memory; boxes not much
larger than their image do anyway."""


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


class _Taps(NamedTuple):
    """The two image pixels that every crop pixel is interpolated between, along one axis."""

    pixels: npt.NDArray[np.intp]
    """(2, S), inside the image."""
    weights: npt.NDArray[np.float32]
    """(2, S); zero for pixels outside of the image, which are black."""


def _centred_taps(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> tuple[_Taps, _Taps]:
    """Columns and rows."""
    scale = box_height / size.height
    x = float(box_center[0]) + scale * (np.arange(size.width) - size.width / 2)
    y = float(box_center[1]) + scale * (np.arange(size.height) - size.height / 2)
    return _taps(x, image.shape[1]), _taps(y, image.shape[0])


def _taps(position: npt.NDArray[np.floating], size: int) -> _Taps:
    # Far outside of any image, where indices would overflow, all is black.
    bounded = np.clip(position, -2.0, size + 1.0)
    low = np.floor(bounded).astype(np.intp)
    pixels = np.stack([low, low + 1])
    weights = np.stack([1 - (bounded - low), bounded - low])
    weights[(pixels < 0) | (pixels >= size)] = 0
    return _Taps(np.clip(pixels, 0, size - 1), weights.astype(np.float32))


def _bilinear(image: npt.NDArray[np.uint8], columns: _Taps, rows: _Taps) -> npt.NDArray[np.uint8]:
    crop = np.zeros((rows.pixels.shape[1], columns.pixels.shape[1], 3), np.float32)
    for row, row_weight in zip(rows.pixels, rows.weights, strict=True):
        for column, column_weight in zip(columns.pixels, columns.weights, strict=True):
            weight = row_weight[:, None, None] * column_weight[:, None]
            crop += weight * image[row[:, None], column]
    return np.rint(crop).astype(np.uint8)


_RESAMPLINGS: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {
    "antialiased": _antialiased,
    "centred": _centred,
    "rounded": _rounded,
    "stretched": _stretched,
    "blurred": _blurred,
}


class _Span(NamedTuple):
    """The part of one axis of the crop that lies inside the image."""

    size: int
    crop: slice
    """The crop pixels that lie wholly inside."""
    image: slice
    """The image pixels that they are resampled from."""
    low: float
    high: float
    """Outer edges of these crop pixels, in pixels from the edge of the first image pixel."""


def _span(scale: float, offset: float, crop_size: int, image_size: int) -> _Span:
    """Crop pixel i has its centre on image pixel `scale` i + `offset`."""
    edge = offset + 0.5 - scale / 2
    slack = 1e-3  # of a crop pixel: rounding must not cost boxes flush with the image a row
    first = max(0, math.ceil(-edge / scale - slack))
    last = min(crop_size, math.floor((image_size - edge) / scale + slack))
    low, high = max(0.0, edge + scale * first), min(float(image_size), edge + scale * last)
    # Pillow's bilinear filter reaches one output pixel, or one input pixel if that is larger.
    reach = math.ceil(max(scale, 1.0)) + 1
    start = max(0, math.floor(low) - reach)
    image = slice(start, max(start, math.ceil(high) + reach))
    return _Span(max(0, last - first), slice(first, last), image, low - start, high - start)


class _BoxSpan(NamedTuple):
    """The part of one axis of a crop of whole image pixels that the image reaches."""

    size: int
    crop: slice
    image: slice
    """The image pixels that it is resampled from."""
    black: tuple[int, int]
    """How many pixels outside of the image are before and after these."""
    low: float
    high: float
    """Outer edges of these crop pixels, in pixels from the edge of the first of all of them."""


def _box_span(low: int, high: int, crop_size: int, image_size: int, whole: bool) -> _BoxSpan:
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
    return _BoxSpan(
        last - first, slice(first, last), image, black, edges[0] - start, edges[1] - start
    )
