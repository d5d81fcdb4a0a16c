"""What the networks of a bundle are compared on: real crops."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.camera import default_focal_length, image_center, image_to_crop
from dualhmr.example import example
from dualhmr.inputs import network_inputs
from dualhmr.keypoints import Keypoints, own_keypoints
from dualhmr.manifest import Manifest
from dualhmr.person import PersonView, see_person

Image = npt.NDArray[np.uint8]


def real_crops(manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """The inputs, by name, of eight persons: the example photograph, turned and mirrored.

    Turning by right angles keeps every pixel as it was taken. Raises ImportError where the example
    photograph is not installed.
    """
    own = own_keypoints(manifest.keypoint_set).set
    read = {*manifest.main.reads, *manifest.auxiliary.reads}
    persons = [
        network_inputs(
            image,
            seen.view,
            image_to_crop(seen.xy, seen.view),
            seen.confidence,
            source=seen.keypoint_set,
            own=own,
            read=read,
        )
        for image, seen in real_people()
    ]
    return {name: np.concatenate([each[name] for each in persons]) for name in persons[0]}


def real_people() -> Iterator[tuple[Image, PersonView]]:
    """Those eight persons: the photograph of each, and how they are seen in it."""
    for image, keypoints in _orientations(*example()):
        height, width = image.shape[:2]
        camera = default_focal_length(width, height), image_center(width, height)
        yield image, see_person(keypoints, 0, *camera)


def _orientations(image: Image, keypoints: Keypoints) -> Iterator[tuple[Image, Keypoints]]:
    """All eight of a square photograph with the pixels' centres at whole numbers."""
    last = len(image) - 1
    xy = keypoints.xy
    for _ in range(4):
        yield np.ascontiguousarray(image), Keypoints(keypoints.set, xy, keypoints.confidence)
        mirrored = np.stack([last - xy[..., 0], xy[..., 1]], axis=-1)
        yield (
            np.ascontiguousarray(image[:, ::-1]),
            Keypoints(keypoints.set, mirrored, keypoints.confidence),
        )
        # A quarter turn to the left takes (x, y) to (y, last - x).
        image = np.rot90(image)
        xy = np.stack([xy[..., 1], last - xy[..., 0]], axis=-1)
