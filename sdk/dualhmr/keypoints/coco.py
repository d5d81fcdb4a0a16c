"""COCO's annotations of keypoints, COCO-WholeBody's too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from dualhmr.keypoints.names import names_in_file
from dualhmr.keypoints.records import (
    ImageRecord,
    KeypointNamesError,
    PersonError,
    PersonRecord,
    number_key,
    person_score,
    read_persons,
    triplets,
)
from dualhmr.keypoints.rectangles import person_rectangle
from dualhmr.keypoints.sets import COCO_17, COCO_WHOLEBODY_133
from dualhmr.untrusted import brief

# After "keypoints", in the order of COCO_WHOLEBODY_133.
_WHOLEBODY_FIELDS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")

Names = tuple[str | None, ...] | KeypointNamesError | None


def coco_images(document: Mapping[str, Any]) -> list[ImageRecord]:
    """Return the images of a file with "images" and "annotations".

    Ids may be numbers, or the same numbers as text. Annotations of categories whose keypoints are
    not a person's are left out, if there is a category whose keypoints are. Raises ValueError if
    the two lists are not there or do not fit each other.
    """
    entries = _image_entries(document)
    annotations = document.get("annotations")
    if not isinstance(annotations, list):
        raise ValueError("'annotations' must be a list, as in COCO's files")
    dicts = [each for each in annotations if isinstance(each, dict)]
    if dicts and not any("keypoints" in each for each in dicts):
        raise ValueError("its annotations have no keypoints; COCO's are in person_keypoints_*.json")
    categories = _category_names(document.get("categories"))
    of_image = _annotations_by_image(entries, annotations)
    names_of_id: dict[object, set[str]] = defaultdict(set)
    for entry in entries:
        names_of_id[number_key(entry["id"])].add(str(entry["file_name"]))

    def record(entry: Mapping[str, Any]) -> ImageRecord:
        def persons() -> list[PersonRecord | PersonError]:
            same_id = names_of_id[number_key(entry["id"])]
            if len(same_id) > 1:
                names = ", ".join(map(brief, sorted(same_id)[:3]))
                raise ValueError(f"{len(same_id)} of its images have one id ({names})")
            return _persons(of_image[number_key(entry["id"])], categories)

        return ImageRecord(str(entry["file_name"]), persons, _size(entry))

    return [record(entry) for entry in entries]


def _image_entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of `images` that annotations can be found for."""
    listed = document.get("images")
    if not isinstance(listed, list):
        raise ValueError("'images' must be a list, as in COCO's files")
    entries = [each for each in listed if isinstance(each, dict)]
    entries = [each for each in entries if {"id", "file_name"} <= each.keys()]
    if not entries:
        raise ValueError("its 'images' must be objects with id and file_name; none of them is")
    return entries


def _annotations_by_image(
    entries: list[dict[str, Any]], annotations: list[Any]
) -> Mapping[object, list[Any]]:
    """Annotations by their image's key. One that has no image is of all of them, unreadable."""
    of_image: dict[object, list[Any]] = {number_key(entry["id"]): [] for entry in entries}
    elsewhere = []
    for annotation in annotations:
        number = annotation.get("image_id") if isinstance(annotation, dict) else None
        if number is None:
            for each in of_image.values():
                each.append(annotation if len(of_image) == 1 else None)
        elif (key := number_key(number)) in of_image:
            of_image[key].append(annotation)
        else:
            elsewhere.append(number)
    if elsewhere and not any(of_image.values()):
        raise ValueError(
            "its annotations are of other images than it lists: image_id "
            f"{brief(elsewhere[0])}, but id {brief(entries[0]['id'])}"
        )
    return of_image


def _category_names(categories: object) -> dict[object, Names]:
    """The names of keypoints by category."""
    listed = categories if isinstance(categories, list) else []
    return {
        number_key(each.get("id")): names_in_file(each.get("keypoints"))
        for each in listed
        if isinstance(each, dict)
    }


def _persons(
    annotations: list[Any], categories: Mapping[object, Names]
) -> list[PersonRecord | PersonError]:
    def names(annotation: object) -> Names:
        if not isinstance(annotation, dict):
            return None
        if annotation.get("category_id") is None and len(categories) == 1:
            return next(iter(categories.values()))
        return categories.get(number_key(annotation.get("category_id")))

    def read(annotation: object) -> PersonRecord:
        if not isinstance(annotation, dict):
            raise PersonError("its annotation is no object, or has no image_id")
        return _person(annotation, names(annotation))

    has_keypoints = [
        each for each in annotations if not isinstance(each, dict) or "keypoints" in each
    ]
    if any(isinstance(each, tuple) for each in categories.values()):
        has_keypoints = [
            each for each in has_keypoints if not isinstance(names(each), KeypointNamesError)
        ]
    return _flags_as_confidence(read_persons(has_keypoints, read))


def _person(annotation: Mapping[str, Any], names: Names) -> PersonRecord:
    points = triplets(annotation["keypoints"], "keypoints")
    parts = [triplets(annotation.get(field), field) for field in _WHOLEBODY_FIELDS]
    whole = sum(map(len, parts)) == len(COCO_WHOLEBODY_133) - len(COCO_17)
    if whole and len(points) == len(COCO_17):
        body = names if isinstance(names, tuple) else COCO_17.names
        names = (*body[: len(COCO_17)], *COCO_WHOLEBODY_133.names[len(COCO_17) :])
        rest = np.concatenate(parts)
        # Their third number is a score in some releases: labelled is what has more than 0.
        rest[:, 2] = rest[:, 2] > 0
        points = np.concatenate([points, rest])
    return PersonRecord(points, names, person_score(annotation), person_rectangle(annotation))


def _flags_as_confidence(
    persons: list[PersonRecord | PersonError],
) -> list[PersonRecord | PersonError]:
    """Visibility 1 (hidden) and 2 becomes confidence 1, unless the numbers are scores.

    Tools write detections as annotations, too, with scores where COCO has flags.
    """
    read = [person for person in persons if isinstance(person, PersonRecord)]
    if not all(np.isin(person.points[:, 2], (0, 1, 2)).all() for person in read):
        return persons
    return [
        person._replace(points=np.minimum(person.points, (np.inf, np.inf, 1)))
        if isinstance(person, PersonRecord)
        else person
        for person in persons
    ]


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height; None if one of them is not a positive whole number."""
    size = []
    for field in ("width", "height"):
        try:
            value = float(entry.get(field) or 0)
        except (TypeError, ValueError, OverflowError):
            return None
        if not (0 < value < 1e9 and value.is_integer()):
            return None
        size.append(int(value))
    return size[0], size[1]
