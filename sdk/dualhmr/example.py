"""The photograph of `dualhmr recover --example`, annotated by hand."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualhmr.images import load_image
from dualhmr.keypoints import COCO_17, Keypoints

NAME = "cameraman"
PHOTOGRAPH = Path(__file__).parent / "assets" / f"{NAME}.png"
# Pixels of the 512x512 photograph, without joints that the coat, the camera or the frame hide.
_ANNOTATED = {
    "nose": (251, 166),
    "right_eye": (238, 148),
    "right_ear": (188, 139),
    "right_shoulder": (95, 190),
    "right_elbow": (62, 318),
    "right_wrist": (170, 240),
    "left_elbow": (246, 298),
    "left_wrist": (288, 238),
    "right_hip": (50, 400),
    "left_hip": (112, 385),
}


def example() -> tuple[npt.NDArray[np.uint8], Keypoints]:
    """The photograph (512, 512, 3) and the keypoints of the one person in it.

    The photograph, `assets/cameraman.png`, is dedicated to the public domain (CC0) by Lav Varshney.
    scikit-image has it as `skimage.data.camera`.
    """
    xy = np.zeros((1, len(COCO_17), 2), np.float32)
    confidence = np.zeros((1, len(COCO_17)), np.float32)
    for name, point in _ANNOTATED.items():
        xy[0, COCO_17.index(name)] = point
        confidence[0, COCO_17.index(name)] = 1
    return load_image(PHOTOGRAPH), Keypoints(COCO_17, xy, confidence)
