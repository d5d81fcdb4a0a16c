"""The people whose crops int8 backbones are calibrated on: rendered ones, or a folder's."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.model import load_body
from dualhmr.bundle import Manifest
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, image_camera
from dualhmr.detection import open_detector
from dualhmr.images import list_images, load_image
from dualhmr.keypoints import BODY_23, Keypoints
from dualhmr.person import ObservedPerson, observe_person
from dualhmr_export.parity import Image, inputs_of
from dualhmr_training.data.synthetic.batches import SyntheticImages
from dualhmr_training.data.synthetic.pose_prior import prior_poses

RENDERED_PEOPLE, MOST_PEOPLE = 64, 256
_SEED, _POSES = 16, 512


class Calibration(NamedTuple):
    """What ranges of activations are measured on."""

    inputs: dict[str, npt.NDArray[Any]]
    """Of the networks by name, persons first."""
    description: str
    """For the manifest."""


def calibration(manifest: Manifest, photographs: Path | None = None) -> Calibration:
    """Crops, made as these networks see them, of the people in a folder's photographs.

    At most `MOST_PEOPLE`, found by the default detector; None: `RENDERED_PEOPLE` rendered people,
    always the same. Raises ValueError for a folder without people, and what `load_image` raises.
    """
    if photographs is None:
        people, source = list(_rendered_people(manifest)), "rendered"
    else:
        people = list(islice(_people_in(photographs, manifest), MOST_PEOPLE))
        source = f"from the photographs of the folder {photographs.name}"
    if not people:
        raise ValueError(
            f"no person was found in the photographs of {photographs}; calibrate on others, or "
            "leave the folder out to calibrate on rendered people"
        )
    return Calibration(inputs_of(people, manifest), f"{len(people)} people, {source}")


def _rendered_people(manifest: Manifest) -> Iterator[tuple[Image, ObservedPerson]]:
    """A rendered crop is the photograph; the networks' own crops are cut out of it."""
    poses = prior_poses(_SEED, _POSES).rotvecs
    rendered = SyntheticImages(load_body(), poses, seed=_SEED, batch=RENDERED_PEOPLE)
    people, images = next(iter(rendered))
    size = np.array([CROP_WIDTH, CROP_HEIGHT], np.float32)
    xy = people.keypoints.numpy() * size / 2 + (size - 1) / 2
    keypoints = Keypoints(BODY_23, xy.astype(np.float32), people.in_view.numpy().astype(np.float32))
    for person, image in enumerate(images.numpy()):
        yield image, _observed(image, keypoints, person, manifest)


def _people_in(folder: Path, manifest: Manifest) -> Iterator[tuple[Image, ObservedPerson]]:
    detector = open_detector(None)
    for path in list_images(folder):
        image = load_image(path)
        keypoints = detector(image).to_keypoints()
        for person in range(len(keypoints.xy)):
            yield image, _observed(image, keypoints, person, manifest)


def _observed(
    image: Image, keypoints: Keypoints, person: int, manifest: Manifest
) -> ObservedPerson:
    height, width = image.shape[:2]
    camera = image_camera(width, height, None, None, default=manifest.focal_length)
    return observe_person(keypoints, person, *camera, crop=manifest.crop)
