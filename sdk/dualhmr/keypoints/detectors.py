"""Detectors' results: OpenPose, COCO's and AlphaPose's, MMPose, Ultralytics, and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.names import names_in_file
from dualhmr.keypoints.records import (
    ImageRecord,
    PersonError,
    PersonRecord,
    number_key,
    numbers,
    person_score,
    read_persons,
    triplets,
    without_missing,
)
from dualhmr.keypoints.rectangles import person_rectangle
from dualhmr.keypoints.sets import BODY_25, HALPE_26
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


def mmpose_images(document: Mapping[str, Any]) -> list[ImageRecord]:
    """Return the images of the file of MMPose's demos, or of its inferencer's return value."""
    instances = document.get("instance_info", document.get("predictions"))
    if not isinstance(instances, list):
        raise ValueError("'instance_info' must be a list, as MMPose writes it")
    meta = document.get("meta_info")
    return results_images(instances, id_to_name=meta if isinstance(meta, dict) else {})


def results_images(
    records: Sequence[object], *, id_to_name: Mapping[str, Any] | None = None
) -> list[ImageRecord]:
    """Return the images of a list of persons, of frames, or of lists of persons.

    Persons with an image_id, a file name or a number, are grouped by it. If there is none, they
    are all of one image. `id_to_name` is MMPose's `meta_info`.
    """
    names = _meta_names(id_to_name or {})

    def image(name: str | int | None, persons: Sequence[object]) -> ImageRecord:
        return ImageRecord(
            name,
            lambda: read_persons(persons, lambda person: _person(person, names)),
            may_be_relative=any(map(_has_columns, persons)),
        )

    if any(isinstance(record, dict) and "instances" in record for record in records):
        frames = [_frame(record) for record in records]
        return [image(number if len(frames) > 1 else None, each) for number, each in frames]
    if records and all(isinstance(record, list) for record in records):
        return [image(None, record) for record in records if isinstance(record, list)]
    ids = [record.get("image_id") for record in records if isinstance(record, dict)]
    if all(number is None for number in ids):
        return [image(None, records)]
    if not all(number is None or isinstance(number, int | float | str) for number in ids):
        raise ValueError("every image_id must be a file name or a number")
    # A record without an id is of no image, or of each: an unreadable person of all of them.
    grouped: dict[object, list[object]] = {
        number_key(number): [] for number in ids if number is not None
    }
    for record in records:
        number = record.get("image_id") if isinstance(record, dict) else None
        if number is not None:
            grouped[number_key(number)].append(record)
        else:
            for group in grouped.values():
                group.append("a record without image_id")
    return [
        image(key if isinstance(key, int) else str(key), group) for key, group in grouped.items()
    ]


def _has_columns(record: object) -> bool:
    """Whether keypoints are given as Ultralytics does, x and y apart."""
    return isinstance(record, dict) and isinstance(record.get("keypoints"), dict)


def _frame(record: object) -> tuple[int | None, Sequence[object]]:
    """Number and persons of a video's frame."""
    if not isinstance(record, dict) or not isinstance(record.get("instances"), list):
        return None, [record]
    number = record.get("frame_id")
    return number if type(number) is int else None, record["instances"]


def _meta_names(meta: Mapping[str, Any]) -> Any:
    """What MMPose says that the keypoints are."""
    id_to_name = meta.get("keypoint_id2name")
    if not isinstance(id_to_name, dict):
        return None
    return names_in_file([id_to_name.get(str(number)) for number in range(len(id_to_name))])


def _person(record: object, names: Any) -> PersonRecord:
    if isinstance(record, list):
        return PersonRecord(triplets(record, "keypoints"), names)
    if not isinstance(record, dict):
        raise PersonError(f"it must be an object with keypoints, but is {brief(record)}")
    if "keypoints" not in record:
        raise PersonError("it has no keypoints; it may come from a detector of boxes")
    keypoints, score = record["keypoints"], person_score(record)
    rectangle = person_rectangle(record)
    if isinstance(keypoints, dict):
        return PersonRecord(_ultralytics(keypoints), names, score, rectangle)
    points = triplets(keypoints, "keypoints")
    if "keypoint_scores" in record:
        if not isinstance(record["keypoint_scores"], list):
            raise PersonError("keypoint_scores must be a list")
        scores = numbers(record["keypoint_scores"], "keypoint_scores")
        if len(scores) != len(points):
            raise PersonError(f"it has {len(points)} keypoints, but {len(scores)} keypoint_scores")
        points = without_missing(np.column_stack([points[:, :2], scores]))
    # AlphaPose's Halpe without the face: 26 keypoints of the body, 42 of the hands.
    if len(points) == 68 and ("box" in record or "idx" in record):
        points, names = points[:26], HALPE_26.names
    return PersonRecord(points, names, score, rectangle)


def _ultralytics(keypoints: Mapping[str, Any]) -> Any:
    """(K, 3) from Ultralytics' lists x, y and, for models that have it, visible."""
    columns: list[NDArray[np.float64]] = []
    for field in ("x", "y", "visible"):
        column = keypoints.get(field)
        if column is None and field == "visible":
            columns.append(np.ones(len(columns[0])))
        elif not isinstance(column, list):
            raise PersonError(f"keypoints.{field} must be a list, but is {brief(column)}")
        else:
            columns.append(numbers(column, f"keypoints.{field}"))
    if len({len(column) for column in columns}) > 1:
        raise PersonError("its keypoints' x, y and visible differ in length")
    return without_missing(np.column_stack(columns))


def array_images(values: NDArray[Any] | list[Any]) -> list[ImageRecord]:
    """Return the image of an array or nested lists: (K, 2|3) of one person, or (P, K, 2|3).

    Raises TypeError or ValueError for arrays of other types or shapes.
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf":
            raise TypeError(f"keypoints must be numbers, not {brief(values.dtype)}")
        if values.ndim not in (2, 3) or values.shape[-1] not in (2, 3):
            raise ValueError(f"keypoints of shape {values.shape}; {_EXPECTED}")
        with np.errstate(invalid="ignore"):  # signalling NaN
            persons = values.astype(np.float64).reshape(-1, *values.shape[-2:]).tolist()
    else:
        rows = [value for value in values if isinstance(value, list)]
        if values and not rows and None not in values:
            raise ValueError(f"keypoints must be numbers in rows, not {brief(values)}; {_EXPECTED}")
        of_one_person = any(rows) and not any(isinstance(x, list) for row in rows for x in row)
        persons = [values] if of_one_person else values
    return [
        ImageRecord(
            None,
            lambda: read_persons(persons, lambda rows: PersonRecord(triplets(rows, "keypoints"))),
        )
    ]


_EXPECTED = (
    "expected (K, 2) or (K, 3) for one person, (P, K, 2) or (P, K, 3) for several; a flat list of "
    "x, y, confidence needs .reshape(-1, 3)"
)


def is_openpose(document: object) -> bool:
    """Whether it is the file of one image."""
    return isinstance(document, dict) and ("people" in document or "bodies" in document)


def openpose_images(document: Mapping[str, Any]) -> list[ImageRecord]:
    """Return the image of OpenPose's file, or the images of AlphaPose's file of several.

    Coordinates must be pixels (OpenPose's default `--keypoint_scale 0`). Raises ValueError for
    other structures.
    """
    if is_openpose(document):
        return [_openpose_image(None, document)]
    return [_openpose_image(name, each) for name, each in document.items()]


def _openpose_image(name: str | None, document: Mapping[str, Any]) -> ImageRecord:
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
