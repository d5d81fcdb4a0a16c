"""The people that a detector finds in a photograph, and a file of them in COCO's layout."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.files import atomic_path
from dualhmr.keypoints import Keypoints, KeypointSet

FloatArray = npt.NDArray[np.float32]

SCORE_RANGE = (0.2, 0.8)
"""Of detectors that were not measured: heat maps and SimCC give about 0.8 for a clear keypoint."""


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """P people in one image. Pixels; (0, 0) is the centre of the top-left pixel.

    Raises TypeError for arrays that are not float32, ValueError for other shapes, numbers that are
    not finite and scores outside of [0, 1].
    """

    keypoint_set: KeypointSet
    """What the K keypoints are."""
    keypoints: FloatArray
    """(P, K, 2) x, y."""
    scores: FloatArray
    """(P, K) in [0, 1]; 0 for a keypoint that was not found."""
    boxes: FloatArray
    """(P, 4) left, top, right, bottom."""
    person_scores: FloatArray
    """(P,) in [0, 1]."""
    score_range: tuple[float, float] = SCORE_RANGE
    """What a score means: a keypoint with the first or less counts as missing, one with the second
    or more counts fully."""

    def __post_init__(self) -> None:
        persons = self.person_scores.shape[0] if np.ndim(self.person_scores) else 0
        count = len(self.keypoint_set)
        shapes = {
            "keypoints": (persons, count, 2),
            "scores": (persons, count),
            "boxes": (persons, 4),
            "person_scores": (persons,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                raise TypeError(f"{name} of Detections must be a float32 NumPy array")
            if array.shape != shape:
                raise ValueError(
                    f"{name} of Detections have the shape {array.shape}, expected {shape} for "
                    f"{persons} person(s) of {self.keypoint_set.name}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} of Detections have numbers that are not finite")
        low, high = self.score_range
        if not 0 <= low < high <= 1:
            raise ValueError(f"score_range is {self.score_range}, expected 0 <= low < high <= 1")
        for name in ("scores", "person_scores"):
            array = getattr(self, name)
            if not ((array >= 0) & (array <= 1)).all():
                raise ValueError(f"{name} of Detections must lie in [0, 1]")

    def __len__(self) -> int:
        """P."""
        return len(self.person_scores)

    def __repr__(self) -> str:
        return f"Detections({len(self)} persons, {self.keypoint_set.name})"

    def select(self, persons: Sequence[int] | npt.NDArray[Any]) -> Detections:
        """Some of the people, in the order of `persons`: indices, or (P,) booleans."""
        chosen = np.asarray(persons)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return Detections(
            self.keypoint_set,
            self.keypoints[chosen],
            self.scores[chosen],
            self.boxes[chosen],
            self.person_scores[chosen],
            self.score_range,
        )

    def to_keypoints(self) -> Keypoints:
        """What adaptation fits: confidences that rise linearly from 0 to 1 along `score_range`."""
        low, high = self.score_range
        confidence = ((self.scores - low) / (high - low)).clip(0, 1).astype(np.float32)
        # Keypoints at exactly (0, 0) are missing, as everywhere.
        confidence[(self.keypoints == 0).all(-1)] = 0
        return Keypoints(self.keypoint_set, self.keypoints, confidence)


class Detector(Protocol):
    """Finds people and their keypoints. `dualhmr.MovenetDetector` is one."""

    def __call__(self, image: npt.NDArray[np.uint8]) -> Detections:
        """The people in an image (H, W, 3) uint8 RGB, upright."""
        ...


AnyDetector = str | Callable[[npt.NDArray[np.uint8]], Any]
"""What `open_detector` takes: a name, a `Detector`, or a callable that returns arrays."""


def keypoint_boxes(keypoints: FloatArray, scores: FloatArray, *, min_score: float) -> FloatArray:
    """Boxes (P, 4) around keypoints (P, K, 2) of `min_score` or more, or around all if none is."""
    counted = scores >= min_score
    counted |= ~counted.any(1, keepdims=True)
    low = np.where(counted[..., None], keypoints, np.inf).min(1)
    high = np.where(counted[..., None], keypoints, -np.inf).max(1)
    return np.concatenate([low, high], 1).astype(np.float32)


def write_coco(
    path: str | os.PathLike[str],
    found: Mapping[str, tuple[tuple[int, int], Detections]],
) -> None:
    """Writes (width, height) and detections of images by their file names, whole or not at all.

    An annotation's `keypoints` are x, y, score, as detectors write them; `score` is the person's.
    Detections of all images are of one keypoint set. Raises OSError that names the file.
    """
    sets = {detections.keypoint_set for _, detections in found.values()}
    if len(sets) > 1:
        names = ", ".join(sorted(each.name for each in sets))
        raise ValueError(f"detections are of several keypoint sets ({names}), expected one")
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for each in sets:
        category = {"id": 1, "name": "person", "supercategory": "person"}
        document["categories"].append(category | {"keypoints": list(each.names)})
    for number, (name, ((width, height), detections)) in enumerate(found.items(), start=1):
        image = {"id": number, "file_name": name, "width": width, "height": height}
        document["images"].append(image)
        for annotation in _annotations(detections):
            identity = {"id": len(document["annotations"]) + 1, "image_id": number}
            document["annotations"].append(identity | annotation)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document), encoding="utf-8")


def _annotations(detections: Detections) -> list[dict[str, Any]]:
    annotations = []
    for person in range(len(detections)):
        left, top, right, bottom = (float(each) for each in detections.boxes[person])
        keypoints = []
        for (x, y), score in zip(
            detections.keypoints[person].tolist(), detections.scores[person].tolist(), strict=True
        ):
            keypoints += [round(x, 2), round(y, 2), round(score, 4)]
        annotations.append(
            {
                "category_id": 1,
                "keypoints": keypoints,
                "num_keypoints": int((detections.scores[person] > 0).sum()),
                "bbox": [round(each, 2) for each in (left, top, right - left, bottom - top)],
                "area": round((right - left) * (bottom - top), 1),
                "iscrowd": 0,
                "score": round(float(detections.person_scores[person]), 4),
            }
        )
    return annotations
