"""Cutting a person out of a photograph that is mirrored and turned first."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.crop import crop_person
from dualhmr_training.datasets.augmentation import Change

_RADIUS = math.hypot(CROP_WIDTH, CROP_HEIGHT) / 2
"""Of the circle around the crop, in crop pixels: what a turned crop may show."""


def crop_changed(
    image: NDArray[np.uint8], box_center: NDArray[np.float64], box_height: float, change: Change
) -> NDArray[np.uint8]:
    """`image` (H, W, 3) -> the crop (256, 192, 3), mirrored and turned, of the scaled box.

    `box_center` (2,) and `box_height` are those in `image`, before the change. Without one this is
    `crop_person`. Colours are left alone, what lies outside of the image is black.
    """
    height = box_height * change.scale
    if not change.angle:
        crop = crop_person(image, box_center, height)
        return np.ascontiguousarray(crop[:, ::-1]) if change.mirror else crop
    return _turned(image, box_center, height, change.in_plane)


def _turned(
    image: NDArray[np.uint8],
    center: NDArray[np.float64],
    height: float,
    in_plane: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """First shrunk upright, where every pixel counts, then turned at about the crop's own size.

    Pillow counts from the outer edge of the first pixel, so its centre is at one half.
    """
    scale = height / CROP_HEIGHT
    size = np.array([image.shape[1], image.shape[0]])
    reach = _RADIUS * scale + 2 * max(scale, 1.0)
    low = np.clip(np.floor(center + 0.5 - reach), 0, size).astype(int)
    high = np.clip(np.ceil(center + 0.5 + reach), 0, size).astype(int)
    if (high <= low).any():
        return np.zeros((CROP_HEIGHT, CROP_WIDTH, 3), np.uint8)
    part = Image.fromarray(image[low[1] : high[1], low[0] : high[0]])
    shrunk = np.maximum(1, np.rint((high - low) / max(scale, 1.0))).astype(int)
    if scale > 1:
        part = part.resize((int(shrunk[0]), int(shrunk[1])), Image.Resampling.BILINEAR)
    per_pixel = shrunk / (high - low)
    # The inverse of a mirroring rotation is its transpose.
    linear = per_pixel[:, None] * in_plane.T * scale
    offset = per_pixel * (center + 0.5 - low) - linear @ [CROP_WIDTH / 2, CROP_HEIGHT / 2]
    affine = np.column_stack([linear, offset]).ravel()
    turned = part.transform(
        (CROP_WIDTH, CROP_HEIGHT),
        Image.Transform.AFFINE,
        data=affine.tolist(),
        resample=Image.Resampling.BILINEAR,
    )
    return np.array(turned)
