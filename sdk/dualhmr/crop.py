"""Cutting a person out of a photograph: one affine transform, one resampling."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH


def crop_to_image_affine(
    box_center: npt.NDArray[np.floating], box_height: float
) -> npt.NDArray[np.float64]:
    """The (2, 3) affine from crop pixels to image pixels, pixel centres at whole numbers.

    `box_center` (2,) and `box_height` in image pixels. The crop's outer edges, half a pixel beyond
    its outermost pixel centres, fall on the box's edges.
    """
    scale = box_height / CROP_HEIGHT
    offset = [
        box_center[0] - scale * (CROP_WIDTH - 1) / 2,
        box_center[1] - scale * (CROP_HEIGHT - 1) / 2,
    ]
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def crop_person(
    image: npt.NDArray[np.uint8], box_center: npt.NDArray[np.floating], box_height: float
) -> npt.NDArray[np.uint8]:
    """`image` (H, W, 3) uint8 RGB -> the crop (256, 192, 3) uint8; black outside of the image.

    Boxes larger than the crop are first reduced by a whole factor, so that fine detail is averaged
    rather than skipped.
    """
    picture = Image.fromarray(image)
    factor = max(1, int(box_height // CROP_HEIGHT))
    if factor > 1:
        picture = picture.reduce(factor)
    affine = crop_to_image_affine(box_center, box_height)
    # Pillow puts pixel centres at half numbers, and the reduced image has its own scale.
    affine[:, 2] += 0.5 - affine[:, :2].sum(axis=1) * 0.5
    affine /= factor
    crop = picture.transform(
        (CROP_WIDTH, CROP_HEIGHT),
        Image.Transform.AFFINE,
        data=tuple(affine.ravel()),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(crop)
