"""What is known of the people in a photograph before a network runs: keypoints, boxes, crops."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.boxes import Box, as_boxes
from dualhmr.camera import CropSize, image_camera
from dualhmr.crop import CropConvention
from dualhmr.images import LoadedImage, upright_by_keypoints
from dualhmr.keypoints import Keypoints, KeypointSet, as_keypoints
from dualhmr.person import ObservedPerson, observe_person
from dualhmr.plausibility import (
    MIN_EXTENT_PX,
    PersonWarning,
    PlausibleKeypoints,
    SkippedPerson,
    check_keypoint_names,
    plausible_keypoints,
)
from dualhmr.recoverer.arguments import as_crops, one_for_each
from dualhmr.recoverer.photo import Photo

_MOST_OUTSIDE_BOX = 0.5
"""With a larger share of the keypoints outside of the person's box there is a warning."""


class Observation(NamedTuple):
    """The people of one photograph who can be recovered."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""
    plausible: PlausibleKeypoints
    persons: list[ObservedPerson]
    """In the order of `plausible.persons`, which has their numbers."""


def observe(
    image: LoadedImage,
    photo: Photo,
    *,
    known: frozenset[str],
    without_keypoints: KeypointSet,
    crop: CropConvention,
    default_focal_length: str,
) -> Observation:
    """Checks everything that was passed with a photograph, whose pixels are `image`.

    `known` are the names of the keypoints that the body has. Where no keypoints were passed,
    everybody who has a box has none of the set `without_keypoints`. `crop` is the convention of the
    networks, and `default_focal_length` their guess, one of `FOCAL_LENGTHS`.

    Raises what `dualhmr.recover` does.
    """
    boxes = (
        None if photo.boxes is None else as_boxes(photo.boxes, margin=crop.margin, size=crop.size)
    )
    everybody = _keypoints(photo, boxes, without_keypoints)
    check_keypoint_names(everybody.set, known)
    boxes = list(one_for_each("boxes", boxes, len(everybody)))
    crops = _crops(photo, boxes, crop.size)
    pixels, doubt = upright_by_keypoints(image, everybody.xy, everybody.confidence)
    height, width = pixels.shape[:2]
    camera = image_camera(
        width, height, photo.focal_length, photo.principal_point, default=default_focal_length
    )
    if photo.keypoints is None:
        numbers = list(range(len(everybody)))
        plausible = PlausibleKeypoints(everybody, everybody, numbers, [], [])
    else:
        plausible = plausible_keypoints(everybody, (width, height), known)
    _check_boxes(plausible, boxes, (width, height), crop.size)
    if doubt is not None:
        plausible.warnings.extend(
            PersonWarning(person, "orientation", doubt) for person in plausible.persons
        )
    persons = [
        observe_person(
            plausible.of_body,
            person,
            *camera,
            crop=crop.name,
            box=boxes[person],
            ready_crop=crops[person],
        )
        for person in plausible.persons
    ]
    return Observation(pixels, plausible, persons)


def _keypoints(
    photo: Photo, boxes: list[Box | None] | None, without_keypoints: KeypointSet
) -> Keypoints:
    if photo.keypoints is not None:
        return as_keypoints(
            photo.keypoints,
            scores=photo.scores,
            score_scale=photo.score_scale,
            min_confidence=photo.min_confidence,
            keypoint_set=photo.keypoint_set,
        )
    if boxes is None:
        raise ValueError("neither keypoints nor boxes came; pass at least one of them")
    if None in boxes:
        raise ValueError(
            f"person {boxes.index(None)} has no box, and there are no keypoints to make one from"
        )
    shape = (len(boxes), len(without_keypoints))
    return Keypoints(
        without_keypoints, np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    )


def _crops(
    photo: Photo, boxes: list[Box | None], size: CropSize
) -> list[npt.NDArray[np.uint8] | None]:
    crops = None if photo.crops is None else as_crops(photo.crops, size)
    crops = list(one_for_each("crops", crops, len(boxes)))
    for person, (crop, box) in enumerate(zip(crops, boxes, strict=True)):
        if crop is not None and box is None:
            raise ValueError(
                f"crops, person {person}: a crop needs the box that it was made of; pass boxes too"
            )
    return crops


def _check_boxes(
    plausible: PlausibleKeypoints,
    boxes: list[Box | None],
    image_size: tuple[int, int],
    size: CropSize,
) -> None:
    """Skips persons with a box that cannot be right, warns where keypoints are not in theirs."""
    for person in list(plausible.persons):
        box = boxes[person]
        if box is None:
            continue
        reason = _unusable(box, image_size, size)
        if reason is not None:
            plausible.persons.remove(person)
            plausible.skipped.append(SkippedPerson(person, reason))
            continue
        points = plausible.of_body.xy[person][plausible.of_body.confidence[person] > 0]
        x0, y0, x1, y1 = box.corners(size)
        outside = ((points < (x0, y0)) | (points > (x1, y1))).any(axis=-1)
        if len(points) and outside.mean() > _MOST_OUTSIDE_BOX:
            message = (
                f"{outside.sum()} of {len(points)} keypoints lie outside of the person's box "
                f"({x0:.0f}, {y0:.0f}, {x1:.0f}, {y1:.0f}); are boxes and keypoints in one order?"
            )
            plausible.warnings.append(PersonWarning(person, "outside_box", message))


def _unusable(box: Box, image_size: tuple[int, int], size: CropSize) -> str | None:
    if box.height < MIN_EXTENT_PX:
        return f"the box is {box.height:g} pixels high, expected at least {MIN_EXTENT_PX:g}"
    x0, y0, x1, y1 = box.corners(size)
    width, height = image_size
    if x1 < -0.5 or y1 < -0.5 or x0 > width - 0.5 or y0 > height - 0.5:
        return (
            f"the box ({x0:.4g}, {y0:.4g}, {x1:.4g}, {y1:.4g}) lies completely outside of the "
            f"{width}x{height} image"
        )
    return None
