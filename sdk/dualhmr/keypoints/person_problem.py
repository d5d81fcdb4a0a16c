"""Whether a person's keypoints are enough to recover a body from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_KEYPOINTS = 6
# A person smaller than this has no pose to see; keypoints on one point have no box to crop.
MIN_EXTENT_PX = 2.0


def person_problem(
    xy: NDArray[np.float32], confidence: NDArray[np.float32], image_size: tuple[int, int]
) -> str | None:
    """Return why this person must be skipped, or None when the person can be recovered.

    `xy` is (K, 2) in image pixels, `confidence` (K,), both as in `Keypoints`; `image_size` is
    (width, height). The rectangle around the keypoints with confidence must hold `MIN_KEYPOINTS`,
    be at least `MIN_EXTENT_PX` pixels wide or high, and touch the image.
    """
    labelled = xy[confidence > 0]
    if len(labelled) < MIN_KEYPOINTS:
        noun = "keypoint" if len(labelled) == 1 else "keypoints"
        return f"{len(labelled)} {noun} with confidence, at least {MIN_KEYPOINTS} are needed"
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    if (high - low).max() < MIN_EXTENT_PX:
        return (
            f"all keypoints lie within {MIN_EXTENT_PX:g} pixels of each other; they must be in "
            "pixels of the image, not in fractions of its size"
        )
    # Pixel centres are whole numbers, so the image reaches half a pixel beyond the outer ones.
    if (high < -0.5).any() or (low > np.asarray(image_size) - 0.5).any():
        corners = ", ".join(f"{value:.0f}" for value in (*low, *high))
        return (
            f"all keypoints lie in the box ({corners}), completely outside of the "
            f"{image_size[0]}x{image_size[1]} image"
        )
    return None
