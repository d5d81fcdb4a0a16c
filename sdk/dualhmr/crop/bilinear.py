"""Crops with the box's centre on a pixel, interpolated between the four nearest image pixels."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.camera import CropSize


class Taps(NamedTuple):
    """The two image pixels that every crop pixel is interpolated between, along one axis."""

    pixels: npt.NDArray[np.intp]
    """(2, S), inside the image."""
    weights: npt.NDArray[np.float32]
    """(2, S); zero for pixels outside of the image, which are black."""


def taps_at(position: npt.NDArray[np.floating], size: int) -> Taps:
    """The taps of crop pixels at `position` (S,) on an axis of an image of `size` pixels."""
    # Far outside of any image, where indices would overflow, all is black.
    bounded = np.clip(position, -2.0, size + 1.0)
    low = np.floor(bounded).astype(np.intp)
    pixels = np.stack([low, low + 1])
    weights = np.stack([1 - (bounded - low), bounded - low])
    weights[(pixels < 0) | (pixels >= size)] = 0
    return Taps(np.clip(pixels, 0, size - 1), weights.astype(np.float32))


def bilinear(image: npt.NDArray[np.uint8], columns: Taps, rows: Taps) -> npt.NDArray[np.uint8]:
    """`image` (H, W, 3) at every row (R) and column (C), as an 8-bit picture (R, C, 3)."""
    crop = np.zeros((rows.pixels.shape[1], columns.pixels.shape[1], 3), np.float32)
    for row, row_weight in zip(rows.pixels, rows.weights, strict=True):
        for column, column_weight in zip(columns.pixels, columns.weights, strict=True):
            weight = row_weight[:, None, None] * column_weight[:, None]
            crop += weight * image[row[:, None], column]
    return np.rint(crop).astype(np.uint8)


def centred(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """The crop pixel of half the size, (96, 128) of 192x256, is the box's centre."""
    return bilinear(image, *_centred_taps(image, box_center, box_height, size))


def _centred_taps(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> tuple[Taps, Taps]:
    """Columns and rows."""
    scale = box_height / size.height
    x = float(box_center[0]) + scale * (np.arange(size.width) - size.width / 2)
    y = float(box_center[1]) + scale * (np.arange(size.height) - size.height / 2)
    return taps_at(x, image.shape[1]), taps_at(y, image.shape[0])


_BLURRED_FROM = 1.1
"""Half the size of an image pixel in the crop's; smaller images are not blurred."""
_BLUR_REACH, _LARGEST_SIGMA = 4.0, 250.0


def blurred(
    image: npt.NDArray[np.uint8],
    box_center: npt.NDArray[np.floating],
    box_height: float,
    size: CropSize,
) -> npt.NDArray[np.uint8]:
    """As `centred`; a Gaussian blurs the image first where crop pixels lie far apart in it.

    Blur and interpolation are weighted sums along rows and columns, so one pass does both. The
    image's edge is repeated for the blur, and black for the interpolation. HMR2.0 does not round
    these crops to 8 bits, as we do.
    """
    columns, rows = _centred_taps(image, box_center, box_height, size)
    half_scale = box_height / size.height / 2
    if half_scale <= _BLURRED_FROM:
        return bilinear(image, columns, rows)
    sigma = min((half_scale - 1) / 2, _LARGEST_SIGMA)
    on_columns = _blurred_weights(columns, sigma, image.shape[1])
    on_rows = _blurred_weights(rows, sigma, image.shape[0])
    across = _span_of(on_columns.sum(axis=0))
    lines = np.zeros((size.height, across.stop - across.start, 3), np.float32)
    for line, weights in zip(lines, on_rows, strict=True):
        near = _span_of(weights)
        line += np.tensordot(weights[near], image[near, across].astype(np.float32), axes=1)
    crop = np.tensordot(on_columns[:, across], lines, axes=(1, 1))
    return np.rint(crop.swapaxes(0, 1)).astype(np.uint8)


def _blurred_weights(taps: Taps, sigma: float, length: int) -> npt.NDArray[np.float32]:
    """What every image pixel of an axis adds to every crop pixel (S): (S, `length`)."""
    reach = int(_BLUR_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    every = np.arange(taps.pixels.shape[1])
    weights = np.zeros((len(every), length))
    for pixels, share in zip(*taps, strict=True):
        for offset, part in zip(offsets, kernel, strict=True):
            weights[every, np.clip(pixels + offset, 0, length - 1)] += part * share
    return weights.astype(np.float32)


def _span_of(weights: npt.NDArray[np.generic]) -> slice:
    """The image pixels that count, between the first and the last one."""
    (used,) = np.nonzero(weights)
    return slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
