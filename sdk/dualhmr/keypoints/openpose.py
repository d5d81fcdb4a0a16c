"""OpenPose's JSON, and the two forms in which AlphaPose imitates it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dualhmr.keypoints.records import (
    ImageRecord,
    PersonError,
    PersonRecord,
    read_persons,
    triplets,
)
from dualhmr.keypoints.sets import BODY_25
from dualhmr.untrusted import brief

# OpenPose's models, by their numbers of keypoints.
_COCO_18 = (*BODY_25.names[:8], *BODY_25.names[9:19])
_MPI_15 = ("head_top", *BODY_25.names[1:8], *BODY_25.names[9:15], None)
_MODELS: Mapping[int, tuple[str | None, ...]] = {
    25: BODY_25.names,
    18: _COCO_18,
    15: _MPI_15,
}
# 2D keypoints of the body in OpenPose since 1.2, before, and in AlphaPose's form "cmu".
_FIELDS = ("pose_keypoints_2d", "pose_keypoints", "joints")


def is_openpose(document: object) -> bool:
    """Whether it is the file of one image."""
    return isinstance(document, dict) and ("people" in document or "bodies" in document)


def openpose_images(document: Mapping[str, Any]) -> list[ImageRecord]:
    """Return the image of OpenPose's file, or the images of AlphaPose's file of several.

    Coordinates must be pixels (OpenPose's default `--keypoint_scale 0`). Raises ValueError for
    other structures.
    """
    if is_openpose(document):
        return [_image(None, document)]
    return [_image(name, each) for name, each in document.items()]


def _image(name: str | None, document: Mapping[str, Any]) -> ImageRecord:
    people = document.get("people", document.get("bodies"))
    if not isinstance(people, list):
        raise ValueError("'people' must be a list of objects, as OpenPose writes it")
    # Its neck is not detected but is computed, for Halpe's models even from the wrong keypoints.
    has_neck = not str(document.get("version")).startswith("AlphaPose")

    def read(person: object) -> PersonRecord:
        if not isinstance(person, dict):
            raise PersonError(f"it must be an object with {_FIELDS[0]}, but is {brief(person)}")
        field = next((field for field in _FIELDS if field in person), None)
        if field is None:
            raise PersonError(f"it has no {_FIELDS[0]}; 3D keypoints are not read")
        points = triplets(person[field], field)
        names = _MODELS.get(len(points))
        if names is not None and not has_neck:
            points = np.where(np.array(names)[:, None] == "neck", 0.0, points)
        return PersonRecord(points, names)

    return ImageRecord(name, lambda: read_persons(people, read))
