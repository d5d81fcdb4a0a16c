"""The errors of the default detector on annotated photographs, in the terms of `DetectorErrors`.

    python -m dualhmr_benchmarks.detector_errors PHOTOS --annotations person_keypoints.json

Photographs are taken as they are, mirrored, made smaller, and cropped around each person. Errors
are in fractions of the person's size, the longer side of the rectangle around the labelled
keypoints.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr import MovenetDetector
from dualhmr.detection import Detections
from dualhmr.detection.similarity import keypoint_similarity
from dualhmr.files import markdown_table
from dualhmr.images import load_image
from dualhmr.keypoints import COCO_17
from dualhmr_benchmarks.photo_variants import VARIANTS, Annotation, Photo

FOUND = 0.3
"""Similarity of a detection that is of the person: low, since large errors are to be counted."""
OUTLIER = 4.0
"""Standard deviations beyond which an error is an outlier."""
_MIN_LABELLED = 6
_FACE = slice(0, 5)
_SWAPPED_LIMBS = {"arms": ("elbow", "wrist"), "legs": ("knee", "ankle")}
_RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))

Array = npt.NDArray[np.float64]


class Person(NamedTuple):
    """An annotated person who was found."""

    errors: Array
    """(17,) distances in fractions of the size; NaN where nothing is labelled or reported."""
    axes: Array
    """(17, 2) the same along x and y."""
    confidence: Array
    """(17,) after the detector's scores are scaled."""
    labelled: npt.NDArray[np.bool_]
    swapped: dict[str, bool]
    """For arms and legs whether left and right are exchanged; absent where that cannot be said."""


def read_annotated(folder: Path, annotations: Path) -> Iterator[Photo]:
    """Photographs with the persons that have at least 6 labelled keypoints."""
    document = json.loads(annotations.read_text(encoding="utf-8"))
    for image in document["images"]:
        people = []
        for entry in document["annotations"]:
            rows = np.array(entry["keypoints"], np.float32).reshape(len(COCO_17), 3)
            if entry["image_id"] == image["id"] and (rows[:, 2] > 0).sum() >= _MIN_LABELLED:
                x, y, width, height = entry["bbox"]
                area = float(entry.get("area") or 0.53 * width * height)
                people.append(Annotation(rows[:, :2], rows[:, 2] > 0, area, (x, y, width, height)))
        yield image["file_name"], load_image(folder / image["file_name"]), people


def compare(found: Detections, annotation: Annotation) -> Person | None:
    """The most similar detection and its errors; None where nobody is similar."""
    if not len(found):
        return None
    order = [found.keypoint_set.index(name) for name in COCO_17.names]
    keypoints = found.keypoints[:, order]
    labelled = annotation.labelled
    similarity = keypoint_similarity(
        keypoints, annotation.keypoints, weights=labelled.astype(np.float32), area=annotation.area
    )
    best = int(similarity.argmax())
    if similarity[best] < FOUND:
        return None
    confidence = found.to_keypoints().confidence[best, order].astype(np.float64)
    true = annotation.keypoints[labelled].astype(np.float64)
    size = float((true.max(0) - true.min(0)).max())
    reported, swapped = keypoints[best].astype(np.float64), {}
    for limbs, parts in _SWAPPED_LIMBS.items():
        left, right = ([COCO_17.index(f"{s}_{part}") for part in parts] for s in ("left", "right"))
        rows, others = left + right, right + left
        if labelled[rows].all() and (confidence[rows] > 0).all():
            plain, crossed = (
                np.linalg.norm(reported[each] - annotation.keypoints[rows], axis=1).sum()
                for each in (rows, others)
            )
            # Exchanged where that explains most of a large error.
            swapped[limbs] = bool(crossed < plain / 2 and plain > 0.1 * size)
            if swapped[limbs]:
                reported[rows] = reported[others]
    axes = (reported - annotation.keypoints) / size
    axes[~labelled | (confidence == 0)] = np.nan
    return Person(np.linalg.norm(axes, axis=1), axes, confidence, labelled, swapped)


def summary(people: Sequence[Person], annotated: int) -> list[tuple[str, str]]:
    """What is measured, and how much of it."""
    errors = np.stack([each.errors for each in people])
    axes = np.stack([each.axes for each in people])
    there = ~np.isnan(errors)
    labelled = np.stack([each.labelled for each in people])
    confidence = np.stack([each.confidence for each in people])
    level = np.nanmedian(errors) / _RAYLEIGH_MEDIAN
    of_person = np.nanmedian(errors, axis=1) / _RAYLEIGH_MEDIAN
    far = there & (errors > OUTLIER * level)
    unsure, sure = (there & (confidence < 0.5)), (there & (confidence >= 0.9))
    swaps = [value for each in people for value in each.swapped.values()]
    missing_each = 1 - (there.sum(1) / labelled.sum(1))
    return [
        ("found", f"{len(people)} of {annotated} persons"),
        ("keypoints compared", f"{there.sum()}"),
        ("noise, standard deviation along an axis", f"{level:.3f}"),
        ("the same by person, 10 / 50 / 90%", _quantiles(of_person)),
        ("of the face", _level(errors[:, _FACE])),
        ("of the body", _level(errors[:, 5:])),
        (f"beyond {OUTLIER:g} deviations", f"{far.sum() / there.sum():.3f}"),
        ("root mean square along an axis, of these", f"{_root_mean_square(axes[far]):.3f}"),
        ("left and right exchanged, arms and legs", f"{sum(swaps)} of {len(swaps)}"),
        ("labelled and not reported", f"{1 - there.sum() / labelled.sum():.3f}"),
        ("the same by person, 10 / 50 / 90%", _quantiles(missing_each)),
        ("persons with nothing missing", f"{(missing_each == 0).mean():.2f}"),
        ("confidence of reported, 10 / 50 / 90%", _quantiles(confidence[there])),
        ("fully confident", f"{(confidence[there] >= 1).mean():.2f}"),
        ("noise below confidence 0.5", _level(errors[unsure])),
        ("noise from confidence 0.9 on", _level(errors[sure])),
        ("reported and not labelled", _share(confidence[~labelled] > 0)),
    ]


def _level(errors: Array) -> str:
    """The deviation along an axis of normal errors with the median of these distances."""
    known = errors[~np.isnan(errors)]
    return f"{np.median(known) / _RAYLEIGH_MEDIAN:.3f}" if len(known) else "-"


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt((values**2).sum() / max(values.size, 1)))


def _share(chosen: npt.NDArray[np.bool_]) -> str:
    return f"{chosen.mean():.2f}" if chosen.size else "-"


def _quantiles(values: Array) -> str:
    return " / ".join(f"{value:.3f}" for value in np.quantile(values, (0.1, 0.5, 0.9)))


def measured(
    photos: Sequence[Photo], detect: Callable[[npt.NDArray[np.uint8]], Detections]
) -> list[tuple[str, str]]:
    """Over all variants of the photographs. Raises ValueError where nobody is found."""
    people, annotated = [], 0
    for variant in VARIANTS.values():
        for photo in photos:
            for _, image, annotations in variant(photo):
                found = detect(image)
                compared = [compare(found, each) for each in annotations]
                people += [each for each in compared if each is not None]
                annotated += len(annotations)
    if not people:
        raise ValueError(f"none of {annotated} annotated persons is found")
    return summary(people, annotated)


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    options = parser.parse_args(arguments)
    photos = list(read_annotated(options.photos, options.annotations))
    print(markdown_table([("measured", "value"), *measured(photos, MovenetDetector())]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
