"""Detections as a JSON file in COCO's layout, which keypoint tools and this SDK read."""

import json
import os
from collections.abc import Mapping
from typing import Any

from dualhmr.detection.detections import Detections
from dualhmr.files import atomic_path


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
