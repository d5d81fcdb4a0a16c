"""The JSON layouts of keypoint files: OpenPose's, COCO's annotations and COCO's results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.sets import COCO_17, KeypointSet

_SHOWN = 3
"""How many images an error lists."""
# In the order of COCO_WHOLEBODY_133.
_WHOLEBODY_FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


def _triplets(numbers: object, owner: str) -> NDArray[np.float64]:
    """Return (K, 3) x, y, confidence from a flat list in JSON.

    Raises ValueError, naming the list's `owner`, for anything else.
    """
    if not isinstance(numbers, list) or not numbers or len(numbers) % 3:
        came = f"{len(numbers)} values" if isinstance(numbers, list) else type(numbers).__name__
        raise ValueError(f"{owner} must be a flat list of x, y, confidence, but is {came}")
    others = [value for value in numbers if type(value) not in (int, float)]
    if others:
        raise ValueError(f"{owner} must hold numbers only, but holds {others[0]!r}")
    try:
        return np.array(numbers, dtype=np.float64).reshape(-1, 3)
    except OverflowError as error:
        raise ValueError(f"{owner} holds a number that is too large") from error


def _stack_persons(persons: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """P arrays (K, 3) -> (P, K, 3)."""
    counts = sorted({len(person) for person in persons})
    if len(counts) > 1:
        raise ValueError(
            f"persons have different numbers of keypoints ({', '.join(map(str, counts))}); "
            "all persons of an image must have the same"
        )
    return np.stack(persons)


def find_image(image_name: str | None, listed: Sequence[str]) -> int:
    """Return the position in `listed` of the image called `image_name`, a name or a path.

    Compares trailing folders as far as both have them, then names, then names without suffix,
    because files are moved and converted after they are annotated. Without `image_name`, a single
    listed image is taken. Raises ValueError if none or several match.
    """
    examples = ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
    if image_name is None:
        if len(listed) == 1:
            return 0
        raise ValueError(
            f"it lists {len(listed)} images ({examples}); say which one with image_name"
        )
    wanted = _path(image_name)
    paths = [_path(name) for name in listed]
    for matches in (
        [path.parts == wanted.parts[-len(path.parts) :] for path in paths],
        [path.name == wanted.name for path in paths],
        [path.stem == wanted.stem for path in paths],
    ):
        found = [i for i, match in enumerate(matches) if match]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(listed[i] for i in found[:_SHOWN])
            raise ValueError(
                f"{len(found)} images listed in it could be {image_name!r} ({names}); "
                "give image_name as it is written there"
            )
    raise ValueError(
        f"image {image_name!r} is not listed in it; it lists {len(listed)} images ({examples})"
    )


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))  # files annotated on Windows


def openpose_persons(document: dict[str, Any]) -> NDArray[np.float64]:
    """Return (P, K, 3) x, y, confidence of the people in the file.

    Coordinates must be pixels (OpenPose's default `--keypoint_scale 0`). Raises ValueError for a
    file without people, for OpenPose's 18-keypoint COCO model, and for other structures.
    """
    people = document.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError("'people' must be a list of objects, as OpenPose writes it")
    if not people:
        raise ValueError("it has no people")
    field = "pose_keypoints_2d"
    for i, person in enumerate(people):
        if field not in person:
            raise ValueError(f"people[{i}] has no {field}; 3D keypoints are not read")
    persons = _stack_persons(
        [_triplets(person[field], f"people[{i}].{field}") for i, person in enumerate(people)]
    )
    if persons.shape[1] == 18:
        raise ValueError(
            "it has 18 keypoints per person, OpenPose's COCO model; only BODY_25 is supported: "
            "run OpenPose with --model_pose BODY_25, or pass arrays with a KeypointSet of your own"
        )
    return persons


def coco_persons(
    document: dict[str, Any], *, image_name: str | None, image_size: tuple[int, int] | None
) -> NDArray[np.float64]:
    """Return (P, K, 3) x, y, confidence of the annotated persons of one image.

    K is 133 where every annotation has COCO-WholeBody's fields. A labelled keypoint, hidden or
    not, has confidence 1. `image_size` is (width, height). Raises ValueError if the image is not
    listed, has another size or no annotated person, or if the document is not in COCO's format.
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
        np.concatenate([_triplets(a[field], f"{field} of {name!r}") for field in fields])
        for a in annotations
    ]
    persons = [person for person in persons if (person[:, 2] > 0).any()]
    if not persons:
        raise ValueError(f"image {name!r} has no persons with annotated keypoints")
    stacked = _stack_persons(persons)
    visibility = stacked[..., 2]
    stacked[..., 2] = np.where(visibility > 0, 1, visibility)
    return stacked


def check_category_names(document: dict[str, Any], chosen: KeypointSet) -> None:
    """Raise ValueError if the file names its keypoints, and they are not those of `chosen`.

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
    Raises ValueError if the image has no record, or a record has another structure.
    """
    checked = _records({"results": records}, "results", ("image_id", "keypoints"))
    if not all(isinstance(record["image_id"], int | str) for record in checked):
        raise ValueError("every image_id must be a file name or a number")
    stem = PurePath(image_name).stem if image_name is not None else ""
    number = int(stem) if stem.isdecimal() else None
    ids = list(dict.fromkeys(record["image_id"] for record in checked))
    names = [stem if number is not None and listed == number else str(listed) for listed in ids]
    chosen = ids[find_image(image_name, names)]
    return _stack_persons(
        [
            _triplets(record["keypoints"], f"keypoints of image_id {chosen!r}")
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
