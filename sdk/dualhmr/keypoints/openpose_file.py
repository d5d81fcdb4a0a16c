"""OpenPose's JSON output, one file per image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.triplets import stack_persons, triplets

_FIELD = "pose_keypoints_2d"


def openpose_persons(document: dict[str, Any]) -> NDArray[np.float64]:
    """Return (P, K, 3) x, y, confidence of the people in the file.

    Coordinates must be pixels (OpenPose's default `--keypoint_scale 0`). ValueError when nobody is
    in the file, for OpenPose's 18-keypoint COCO model, and for other structures.
    """
    people = document.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError("'people' must be a list of objects, as OpenPose writes it")
    if not people:
        raise ValueError("it has no people")
    for i, person in enumerate(people):
        if _FIELD not in person:
            raise ValueError(f"people[{i}] has no {_FIELD}; 3D keypoints are not read")
    persons = stack_persons(
        [triplets(person[_FIELD], f"people[{i}].{_FIELD}") for i, person in enumerate(people)]
    )
    if persons.shape[1] == 18:
        raise ValueError(
            "it has 18 keypoints per person, OpenPose's COCO model; only BODY_25 is supported: "
            "run OpenPose with --model_pose BODY_25, or pass arrays with a KeypointSet of your own"
        )
    return persons
