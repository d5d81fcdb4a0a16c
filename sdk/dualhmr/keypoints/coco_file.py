"""COCO's annotation files (person_keypoints_*.json, and COCO-WholeBody's) and results files."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.image_names import find_image
from dualhmr.keypoints.sets import COCO_17, KeypointSet
from dualhmr.keypoints.triplets import stack_persons, triplets

# In the order of COCO_WHOLEBODY_133.
_WHOLEBODY_FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


def coco_persons(
    document: dict[str, Any], *, image_name: str | None, image_size: tuple[int, int] | None
) -> NDArray[np.float64]:
    """Return (P, K, 3) x, y, confidence of the annotated persons of one image.

    K is 133 where every annotation has COCO-WholeBody's fields. A labelled keypoint, hidden or
    not, has confidence 1. `image_size` is (width, height). ValueError when the image is not listed,
    has another size, or has nobody annotated, and when the document is not what COCO defines.
    """
    images = _records(document, "images", ("id", "file_name"))
    image = images[find_image(image_name, [str(record["file_name"]) for record in images])]
    name = image["file_name"]
    _check_size(image, image_size)

    annotations = [
        annotation
        for annotation in _records(document, "annotations", ("image_id",))
        if annotation["image_id"] == image["id"]
    ]
    if annotations and not any("keypoints" in annotation for annotation in annotations):
        raise ValueError(
            f"annotations of {name!r} have no keypoints; COCO's are in person_keypoints_*.json"
        )
    annotations = [annotation for annotation in annotations if "keypoints" in annotation]
    whole = all(field in a for a in annotations for field in _WHOLEBODY_FIELDS)
    fields = _WHOLEBODY_FIELDS if whole else _WHOLEBODY_FIELDS[:1]
    persons = [
        np.concatenate([triplets(a[field], f"{field} of {name!r}") for field in fields])
        for a in annotations
    ]
    persons = [person for person in persons if (person[:, 2] > 0).any()]
    if not persons:
        raise ValueError(f"image {name!r} has no persons with annotated keypoints")
    stacked = stack_persons(persons)
    visibility = stacked[..., 2]
    stacked[..., 2] = np.where(visibility > 0, 1, visibility)
    return stacked


def check_category_names(document: dict[str, Any], chosen: KeypointSet) -> None:
    """Raise ValueError when the file names its keypoints, and names others than `chosen` does.

    Human3.6M's and animals' files have 17 keypoints too.
    """
    for category in document.get("categories") or []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if not isinstance(names, list) or not names:
            continue
        spelt = tuple(str(name).lower().replace(" ", "_").replace("-", "_") for name in names)
        # COCO-WholeBody's categories name only the first 17 of its 133.
        if spelt not in (chosen.names, COCO_17.names):
            raise ValueError(
                f"its keypoints ({', '.join(spelt[:3])}, ...) are not those of {chosen.name!r} "
                f"({', '.join(chosen.names[:3])}, ...); pass keypoint_set to say what they are"
            )


def results_persons(records: list[Any], *, image_name: str | None) -> NDArray[np.float64]:
    """Return (P, K, 3) of one image from COCO-style results, as AlphaPose and others write them.

    Each record has "keypoints" and an "image_id", the image's file name or its number.
    ValueError when the image has no record and when a record is something else.
    """
    checked = _records({"results": records}, "results", ("image_id", "keypoints"))
    if not all(isinstance(record["image_id"], int | str) for record in checked):
        raise ValueError("every image_id must be a file name or a number")
    stem = PurePath(image_name).stem if image_name is not None else ""
    number = int(stem) if stem.isdecimal() else None
    ids = list(dict.fromkeys(record["image_id"] for record in checked))
    names = [stem if number is not None and listed == number else str(listed) for listed in ids]
    chosen = ids[find_image(image_name, names)]
    return stack_persons(
        [
            triplets(record["keypoints"], f"keypoints of image_id {chosen!r}")
            for record in checked
            if record["image_id"] == chosen
        ]
    )


def _records(document: dict[str, Any], key: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    records = document.get(key)
    if not isinstance(records, list):
        raise ValueError(f"{key!r} must be a list, as in COCO's files")
    for i, record in enumerate(records):
        if not isinstance(record, dict) or not all(field in record for field in needed):
            raise ValueError(f"{key}[{i}] must be an object with {' and '.join(needed)}")
    return records


def _check_size(image: dict[str, Any], image_size: tuple[int, int] | None) -> None:
    listed = (image.get("width"), image.get("height"))
    if image_size is None or None in listed or listed == tuple(image_size):
        return
    hint = ""
    if listed == tuple(image_size)[::-1]:
        hint = "; the image was turned by its EXIF orientation, the keypoints were not"
    raise ValueError(
        f"image and keypoint file do not match: {image['file_name']!r} is {listed[0]}x{listed[1]} "
        f"in the file, but the image is {image_size[0]}x{image_size[1]}{hint}"
    )
