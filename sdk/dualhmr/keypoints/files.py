"""Keypoint files -> `Keypoints`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from dualhmr.keypoints.coco import coco_images
from dualhmr.keypoints.detectors import (
    array_images,
    is_openpose,
    mmpose_images,
    openpose_images,
    results_images,
)
from dualhmr.keypoints.frames import read_upright
from dualhmr.keypoints.keypoints import MIN_CONFIDENCE, Keypoints, as_keypoints, check_unit_scale
from dualhmr.keypoints.records import (
    ImageRecord,
    LowScoreError,
    PersonError,
    PersonRecord,
    find_image,
)
from dualhmr.keypoints.rectangles import Corners, upright_rectangles
from dualhmr.keypoints.sets import KeypointSet
from dualhmr.keypoints.sets import keypoint_set as set_of_name
from dualhmr.untrusted import brief, read_json, read_npy

MIN_PERSON_SCORE = 0.2
"""Persons with a lower score of the detector are left out. It is below what detectors themselves
show by default (0.25 Ultralytics, 0.3 MMPose, 0.5 Detectron2), and above their noise."""

# For photo.jpg, in order of preference: OpenPose writes the second, MMPose's demos the third. The
# first tells photo.jpg from photo.png.
_FILE_PATTERNS = (
    "{name}.json",
    "{stem}.json",
    "{stem}_keypoints.json",
    "results_{stem}.json",
    "{stem}.npy",
)
_MAX_BYTES = 2 * 1024**3
"""COCO-WholeBody's annotations of 118,000 images, the largest that are known, are half of it."""
_SCORES_LOOKED_AT = 1000
"""So many persons tell on which scale the scores of a file are."""


@dataclass(frozen=True)
class KeypointFile:
    """A keypoint file, parsed once, from which the keypoints of many images can be taken.

    Supported are COCO's person-keypoints annotations (COCO-WholeBody's too), results in COCO's
    format (OpenPose, Detectron2, AlphaPose) or without image_id, the JSON of OpenPose, MMPose and
    Ultralytics, and arrays as `as_keypoints` takes them, in JSON or .npy.
    """

    path: Path
    content: Any

    def keypoints(
        self,
        *,
        image_name: str | None = None,
        image_size: tuple[int, int] | None = None,
        exif_orientation: int = 1,
        points_frame: str | None = None,
        keypoint_set: KeypointSet | str | None = None,
        score_scale: float = 1.0,
        min_confidence: float = MIN_CONFIDENCE,
        min_person_score: float = MIN_PERSON_SCORE,
    ) -> Keypoints:
        """Return the keypoints of the persons in one image, in the file's order.

        Persons who cannot be read, or whose score is too low, are in their place with no keypoint
        and with the reason in `Keypoints.problems`, so that the others keep their numbers.

        Args:
            image_name: The image's name or path, needed for files of several images.
            image_size: Width and height of the upright image, pixels. A file for another size is
                an error.
            exif_orientation: EXIF's number, 1 to 8, if the image was turned upright by it.
            points_frame: "upright" or "raw", the image that the file's points are of. None: what
                fits; an error if both do.
            keypoint_set: What the keypoints are. None: by the names in the file, or their number.
            score_scale: The best score of the detector, by which scores are divided.
            min_confidence: Keypoints with a lower score count as missing. Visibility flags (0, 1,
                2) of annotations are no scores.
            min_person_score: Persons with a lower score are left out; 0 keeps all.

        Raises:
            ValueError: The file has no keypoints of this image, names the file.
        """
        wanted = None if keypoint_set is None else set_of_name(keypoint_set)
        try:
            image = self._image(image_name)
            persons = [_without_low_score(each, min_person_score) for each in image.persons()]
            read = read_upright(image, persons, wanted, image_size, exif_orientation, points_frame)
            chosen, points, problems = read.set, read.points, read.problems
            flags = bool(np.isin(points[..., 2], (0, 1, 2)).all())
            if not flags:
                check_unit_scale(np.array([self._best_score]), score_scale)
            keypoints = as_keypoints(
                points,
                keypoint_set=chosen,
                score_scale=1.0 if flags else score_scale,
                min_confidence=min_confidence,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: {error}") from error
        return replace(keypoints, problems=problems)

    def boxes(
        self,
        *,
        image_name: str | None = None,
        image_size: tuple[int, int] | None = None,
        exif_orientation: int = 1,
        points_frame: str | None = None,
        keypoint_set: KeypointSet | str | None = None,
        min_person_score: float = MIN_PERSON_SCORE,
    ) -> list[Corners | None]:
        """Return the rectangle (4,) x0, y0, x1, y1 of each person in one image, for `recover`.

        Persons are those of `keypoints`, which also has the arguments and errors; corners are in
        pixels of the upright image, where the keypoints are. None for persons whom the file gives
        no rectangle: COCO's `bbox`, and those of MMPose, AlphaPose and Ultralytics.
        """
        wanted = None if keypoint_set is None else set_of_name(keypoint_set)
        try:
            image = self._image(image_name)
            persons = [_without_low_score(each, min_person_score) for each in image.persons()]
            read = read_upright(image, persons, wanted, image_size, exif_orientation, points_frame)
            return upright_rectangles(
                persons,
                scale=read.scale,
                orientation=read.orientation,
                upright_size=image_size,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: {error}") from error

    def _image(self, image_name: str | None) -> ImageRecord:
        images = self._images
        return images[find_image(image_name, [each.name for each in images])]

    @cached_property
    def _images(self) -> list[ImageRecord]:
        return _images(self.content)

    @cached_property
    def _best_score(self) -> float:
        """The best of the file's first persons: all scores of one image may be low."""
        everybody = chain.from_iterable(_persons(image) for image in self._images)
        first = islice((each.points for each in everybody if len(each.points)), _SCORES_LOOKED_AT)
        scores = np.concatenate([np.zeros(1), *(points[:, 2] for points in first)])
        return 0.0 if np.isin(scores, (0, 1, 2)).all() else float(scores.max())


def _images(content: Any) -> list[ImageRecord]:
    """Recognise a layout. Raises ValueError for an unknown one."""
    if isinstance(content, np.ndarray):
        return array_images(content)
    if isinstance(content, list):
        if any(isinstance(each, dict) for each in chain(content, *_lists(content))):
            return results_images(content)
        return array_images(content)
    if not isinstance(content, dict):
        raise ValueError(f"keypoints must be numbers in lists or objects, but are {brief(content)}")
    if "annotations" in content:
        return coco_images(content)
    if "instance_info" in content or "predictions" in content:
        return mmpose_images(content)
    if is_openpose(content) or (content and all(map(is_openpose, content.values()))):
        return openpose_images(content)
    if "keypoints" in content:
        return results_images([content])
    raise ValueError(
        f"unknown structure with {', '.join(map(brief, list(content)[:5])) or 'nothing'}; expected "
        "COCO's 'images' and 'annotations', OpenPose's 'people', or another detector's results"
    )


def _lists(values: list[Any]) -> list[list[Any]]:
    return [value for value in values if isinstance(value, list)]


def _persons(image: ImageRecord) -> list[PersonRecord]:
    try:
        return [person for person in image.persons() if isinstance(person, PersonRecord)]
    except ValueError:
        return []  # an error for who wants that image


def _without_low_score(
    person: PersonRecord | PersonError, least: float
) -> PersonRecord | PersonError:
    if isinstance(person, PersonRecord) and person.score is not None and person.score < least:
        return LowScoreError(
            f"its score {person.score:.2g} is below {least:g} (min_person_score, "
            "--min-person-score)"
        )
    return person


def open_keypoint_file(path: str | os.PathLike[str]) -> KeypointFile:
    """Read a .json or .npy file. Raises FileNotFoundError, or ValueError if it is not readable."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"keypoint file {path} does not exist")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; keypoint_file_for finds an image's file in it")
    readers = {".json": _read_json, ".npy": _read_npy}
    if path.suffix.lower() not in readers:
        raise ValueError(f"keypoint file {path} must be one of {', '.join(readers)}")
    return KeypointFile(path, readers[path.suffix.lower()](path))


def read_keypoints(
    path: str | os.PathLike[str],
    *,
    image_name: str | None = None,
    image_size: tuple[int, int] | None = None,
    exif_orientation: int = 1,
    points_frame: str | None = None,
    keypoint_set: KeypointSet | str | None = None,
    score_scale: float = 1.0,
    min_confidence: float = MIN_CONFIDENCE,
    min_person_score: float = MIN_PERSON_SCORE,
) -> Keypoints:
    """Return the keypoints of one image's persons from a file.

    `open_keypoint_file` and `KeypointFile.keypoints` in one; see there for arguments and errors.
    """
    return open_keypoint_file(path).keypoints(
        image_name=image_name,
        image_size=image_size,
        exif_orientation=exif_orientation,
        points_frame=points_frame,
        keypoint_set=keypoint_set,
        score_scale=score_scale,
        min_confidence=min_confidence,
        min_person_score=min_person_score,
    )


def keypoint_file_for(
    folder_or_file: str | os.PathLike[str], image_path: str | os.PathLike[str]
) -> Path:
    """Return `folder_or_file` if it is a file, or else the image's keypoint file in that folder.

    In a folder, photo.jpg has photo.jpg.json, photo.json, photo_keypoints.json (OpenPose's),
    results_photo.json (MMPose's demos') or photo.npy, the first of these that exists.
    Raises FileNotFoundError, listing the names that were tried, if there is none.
    """
    place = Path(folder_or_file)
    if place.is_file():
        return place
    if not place.is_dir():
        raise FileNotFoundError(f"keypoint file or folder {place} does not exist")
    image = Path(image_path)
    names = [pattern.format(name=image.name, stem=image.stem) for pattern in _FILE_PATTERNS]
    for name in names:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no keypoints for {image_path} in {place}: no {', '.join(names)}")


def _read_json(path: Path) -> Any:
    return read_json(path, limit_bytes=_MAX_BYTES)


def _read_npy(path: Path) -> Any:
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError(
                f"{path} is a .npz archive, not a .npy file; save one array with numpy.save"
            )
    return read_npy(path, limit_bytes=_MAX_BYTES)
