"""Photographs read at a fraction of their size, and annotations that go with them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualhmr.images import load_image


def load_reduced(path: Path, reduction: int) -> NDArray[np.uint8]:
    """The image at one over `reduction` of its size; every pixel counts. Raises as `load_image`."""
    image = load_image(path)
    return image if reduction == 1 else np.array(Image.fromarray(image).reduce(reduction))


def reduced_points(points_px: NDArray[np.floating], reduction: int) -> NDArray[np.float64]:
    """Image pixels (..., 2) -> pixels of the reduced image.

    It is the outer edge that stays in place, half a pixel before the first pixel's centre.
    """
    return (points_px.astype(np.float64) + 0.5) / reduction - 0.5
