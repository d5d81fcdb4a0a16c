"""Keypoint files -> `Keypoints`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualhmr.keypoints.formats import (
    check_category_names,
    coco_persons,
    openpose_persons,
    results_persons,
)
from dualhmr.keypoints.keypoints import Keypoints, as_keypoints
from dualhmr.keypoints.sets import KeypointSet

# For photo.jpg, in order of preference.
_FILE_PATTERNS = ("{stem}.json", "{stem}_keypoints.json", "{stem}.npy")


@dataclass(frozen=True)
class KeypointFile:
    """A keypoint file, parsed once, from which the keypoints of many images can be taken.

    Supported are COCO's person-keypoints annotations (COCO-WholeBody's too), COCO-style results
    (AlphaPose), OpenPose's JSON, and arrays as `as_keypoints` takes them, in JSON or .npy.
    """

    path: Path
    content: Any

    def keypoints(
        self,
        *,
        image_name: str | None = None,
        image_size: tuple[int, int] | None = None,
        keypoint_set: KeypointSet | str | None = None,
    ) -> Keypoints:
        """Return the keypoints of the persons in one image, in the file's order.

        `image_name` is the image's name or path, needed for files of several images. With
        `image_size` (width, height), pixels, a COCO file for another size is an error.
        `keypoint_set` is inferred from the number of keypoints if left out.

        Raises ValueError, naming the file, if it has no keypoints of this image.
        """
        content = self.content
        try:
            if not isinstance(content, dict):
                records = isinstance(content, list) and content and isinstance(content[0], dict)
                values = results_persons(content, image_name=image_name) if records else content
            elif "annotations" in content:
                values = coco_persons(content, image_name=image_name, image_size=image_size)
            elif "people" in content:
                values = openpose_persons(content)
            else:
                raise ValueError(
                    f"unknown structure with {', '.join(list(content)[:5]) or 'nothing'}; "
                    "expected COCO's 'images' and 'annotations' or OpenPose's 'people'"
                )
            keypoints = as_keypoints(values, keypoint_set=keypoint_set)
            if isinstance(content, dict) and keypoint_set is None:
                check_category_names(content, keypoints.set)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: {error}") from error
        return keypoints


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
    keypoint_set: KeypointSet | str | None = None,
) -> Keypoints:
    """Return the keypoints of one image's persons from a file.

    `open_keypoint_file` and `KeypointFile.keypoints` in one; see there for arguments and errors.
    """
    return open_keypoint_file(path).keypoints(
        image_name=image_name, image_size=image_size, keypoint_set=keypoint_set
    )


def keypoint_file_for(
    folder_or_file: str | os.PathLike[str], image_path: str | os.PathLike[str]
) -> Path:
    """Return `folder_or_file` if it is a file, or else the image's keypoint file in that folder.

    In a folder, photo.jpg has photo.json, photo_keypoints.json (OpenPose's) or photo.npy.
    Raises FileNotFoundError, listing the names that were tried, if there is none.
    """
    place = Path(folder_or_file)
    if place.is_file():
        return place
    if not place.is_dir():
        raise FileNotFoundError(f"keypoint file or folder {place} does not exist")
    names = [pattern.format(stem=Path(image_path).stem) for pattern in _FILE_PATTERNS]
    for name in names:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no keypoints for {image_path} in {place}: no {', '.join(names)}")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON, or was cut short ({error})") from error


def _read_npy(path: Path) -> Any:
    try:
        # Mapping checks the size in the header against the file before any memory is allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as error:
        raise ValueError(
            f"{path} is not a .npy file of numbers, or was cut short ({error}); arrays of Python "
            "objects are not read, save a float array"
        ) from error
    if not isinstance(mapped, np.ndarray):
        raise ValueError(
            f"{path} is a .npz archive, not a .npy file; save one array with numpy.save"
        )
    return np.array(mapped)
