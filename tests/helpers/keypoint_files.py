"""Keypoint files as detectors and annotators write them; each holds the same stick figure."""

from typing import Any

import numpy as np
import numpy.typing as npt

FIGURE = np.array([
    (320, 80), (328, 72), (312, 72), (338, 76), (302, 76), (360, 130), (280, 130), (385, 190),
    (255, 190), (395, 245), (245, 245), (345, 250), (295, 250), (350, 330), (290, 330), (352, 410),
    (288, 410),
], float)  # fmt: skip
SIZE = (640, 480)


def flat(score: float = 2, xy: npt.NDArray[np.float64] = FIGURE) -> list[float]:
    return np.column_stack([xy, np.full(len(xy), float(score))]).ravel().tolist()


def padded(count: int) -> npt.NDArray[np.float64]:
    """The figure, and a guess for every further point."""
    return np.concatenate([FIGURE, np.full((count - 17, 2), 7.0)])


def result(**fields: Any) -> dict[str, Any]:
    return {
        "image_id": "photo.jpg",
        "category_id": 1,
        "keypoints": flat(0.9),
        "score": 0.9,
        **fields,
    }


def annotated(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "photo.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": flat(), **annotation}],
        "categories": [{"id": 1, "name": "person"}],
    }


def named(names: Any, rows: Any = range(17), **category: Any) -> dict[str, Any]:
    document = annotated(keypoints=flat(xy=FIGURE[list(rows)]))
    document["categories"] = [{"id": 1, "name": "person", "keypoints": names, **category}]
    return document


# AlphaPose's order for both of its forms, with a neck in second place.
OPENPOSE_18 = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)


def openpose_18() -> list[float]:
    neck = (FIGURE[5] + FIGURE[6]) / 2
    return flat(0.9, np.array([neck if row is None else FIGURE[row] for row in OPENPOSE_18]))


# What each tool writes. Sources: the tools' own code (AlphaPose pPose_nms.write_json, OpenPose
# cocoJsonSaver, MMPose split_instances and its demos, Ultralytics Results.summary).

MMPOSE = {
    "keypoints": FIGURE.tolist(),
    "keypoint_scores": [0.9] * 17,
    "bbox": [[240, 60, 400, 420]],
    "bbox_score": 0.9,
}
ULTRALYTICS = {
    "name": "person",
    "class": 0,
    "confidence": 0.9,
    "box": {"x1": 240, "y1": 60, "x2": 400, "y2": 420},
    "keypoints": {
        "x": FIGURE[:, 0].tolist(),
        "y": FIGURE[:, 1].tolist(),
        "visible": [0.9] * 17,
    },
}
NORMALISED = ULTRALYTICS | {
    "keypoints": {
        "x": (FIGURE[:, 0] / SIZE[0]).tolist(),
        "y": (FIGURE[:, 1] / SIZE[1]).tolist(),
        "visible": [0.9] * 17,
    }
}
TOOLS = {
    "COCO results": [result(image_id=1)],
    "AlphaPose": [result(box=[1, 2, 3, 4], idx=1)],
    "AlphaPose, Halpe-26": [result(keypoints=flat(0.9, padded(26)))],
    "AlphaPose, Halpe-136": [result(keypoints=flat(0.9, padded(136)))],
    "AlphaPose, whole body": [result(keypoints=flat(0.9, padded(133)))],
    "AlphaPose, Halpe without face": [result(keypoints=flat(0.9, padded(68)), box=[1, 2, 3, 4])],
    "AlphaPose, two images": [
        result(image_id="other.jpg", keypoints=flat(0.9, FIGURE + 5)),
        result(),
    ],
    "no image_id": [{"keypoints": flat(0.9)}],
    "MMPose inferencer": [MMPOSE],
    "MMPose inferencer, batch": [[MMPOSE]],
    "MMPose inferencer, return value": {"predictions": [[MMPOSE]], "visualization": []},
    "MMPose demo": {"meta_info": {"dataset_name": "coco"}, "instance_info": [MMPOSE]},
    "MMPose demo, one frame": {"instance_info": [{"frame_id": 1, "instances": [MMPOSE]}]},
    "Ultralytics": [ULTRALYTICS],
    "Ultralytics, normalised": [NORMALISED],
}
