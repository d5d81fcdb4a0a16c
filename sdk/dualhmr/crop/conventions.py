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
from typing import Literal

import numpy as np
import numpy.typing as npt

from dualhmr.camera import BOX_MARGIN, CROP_SIZE, CropSize
from dualhmr.crop.antialiased import antialiased
from dualhmr.crop.bilinear import blurred, centred
from dualhmr.crop.whole_pixels import rounded, stretched


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


_RESAMPLINGS: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {
    "antialiased": antialiased,
    "centred": centred,
    "rounded": rounded,
    "stretched": stretched,
    "blurred": blurred,
}


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
