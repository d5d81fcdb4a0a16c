"""How an annotated person is seen in the photograph, before any augmentation."""

from typing import Literal

import numpy as np
import torch

from dualhmr.camera import View, default_focal_length, image_center, keypoint_box
from dualhmr.keypoints import BODY_25
from dualhmr_training.datasets.annotations import Annotations
from dualhmr_training.datasets.reduction import reduced_points

BoxSource = Literal["file", "keypoints"]


def person_view(
    annotations: Annotations,
    person: int,
    *,
    image_size: tuple[int, int],
    reduction: int,
    boxes: BoxSource,
) -> View:
    """The view of one person, in double precision, in pixels of the image as read.

    `image_size` is its width and height, `reduction` what the annotations have to be divided by.
    The focal length is the image's diagonal where none is annotated; `boxes` is explained at
    `PersonDataset`.
    """
    focal_length = default_focal_length(*image_size)
    if annotations.focal_length is not None:
        focal_length = float(annotations.focal_length[person]) / reduction
    center, height = annotations.box_center[person], float(annotations.box_height[person])
    if boxes == "keypoints":
        own = slice(len(BODY_25), None)
        around, around_height = keypoint_box(
            torch.from_numpy(annotations.keypoints[person, own]).double(),
            torch.from_numpy(annotations.confidence[person, own]),
        )
        if around_height > 0:  # not without two labelled keypoints
            center, height = around.numpy(), float(around_height)
    return View(
        torch.from_numpy(reduced_points(np.asarray(center), reduction)),
        torch.tensor(height / reduction, dtype=torch.float64),
        torch.tensor(focal_length, dtype=torch.float64),
        torch.tensor(image_center(*image_size), dtype=torch.float64),
    )
