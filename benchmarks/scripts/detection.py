"""How well people are found in annotated photographs, and what that does to their bodies.

    python benchmarks/scripts/detection.py PHOTOS --annotations person_keypoints.json [--out DIR]
    ... --variants mirrored smaller crops --sides 384 --no-second-look    # what settings do

A person is found where the best detection has an object keypoint similarity (OKS) of at least 0.5
with the annotation. Errors are mean distances over the labelled keypoints, in percent of the height
of the person's box. Bodies are recovered twice, from detected and from annotated keypoints. COCO
does not label everybody, so a detection without an annotation is counted, but may be right: look
at the pictures in `--out`.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr import EngineOptions, KeypointSet, MovenetDetector, MovenetOptions, Recoverer, Recovery
from dualhmr.boxes import Box
from dualhmr.cli.detect import write_picture
from dualhmr.detection import Detections, open_detector
from dualhmr.detection.similarity import keypoint_similarity
from dualhmr.files import markdown_table
from dualhmr.images import load_image
from dualhmr.keypoints import COCO_17, Keypoints
from dualhmr_benchmarks.photo_variants import VARIANTS, Annotation, Photo

FloatArray = npt.NDArray[np.float32]
FOUND = 0.5
WELL_FOUND = 0.75
MIN_LABELLED = 6


class PersonRow(NamedTuple):
    """One annotated person; errors in percent of the box."""

    photo: str
    similarity: float
    error: float
    """Of the detected keypoints; NaN where the person is not found, as all that follows."""
    body_before: float
    body_after: float
    """Of bodies from detected keypoints to annotated keypoints, before and after adaptation."""
    annotated_after: float
    """Of bodies from annotated keypoints."""
    pa_mpjpe: float
    """Millimetres between both bodies' joints, after alignment."""


class PhotoResult(NamedTuple):
    """One photograph."""

    persons: list[PersonRow]
    others: int
    """Detections that no annotation belongs to."""
    milliseconds: float
    """Of the detector, warm."""


def read_photos(folder: Path, annotations: Path) -> Iterator[Photo]:
    """Photographs and their persons with enough labelled keypoints."""
    document = json.loads(annotations.read_text(encoding="utf-8"))
    for image in document["images"]:
        people = [
            _annotation(each)
            for each in document["annotations"]
            if each["image_id"] == image["id"]
            and np.count_nonzero(each["keypoints"][2::3]) >= MIN_LABELLED
        ]
        yield image["file_name"], load_image(folder / image["file_name"]), people


def _annotation(entry: dict[str, Any]) -> Annotation:
    rows = np.array(entry["keypoints"], np.float32).reshape(len(COCO_17), 3)
    x, y, width, height = entry["bbox"]
    area = float(entry.get("area") or 0.53 * width * height)
    return Annotation(rows[:, :2], rows[:, 2] > 0, area, (x, y, width, height))


def measure(
    photo: Photo,
    detector: Callable[[npt.NDArray[np.uint8]], Detections],
    recoverer: Recoverer | None,
) -> tuple[PhotoResult, Detections]:
    """One photograph: what is found of it, and, with a `recoverer`, bodies."""
    name, image, annotations = photo
    started = time.perf_counter()
    found = detector(image)
    milliseconds = 1000 * (time.perf_counter() - started)
    rows, matched = [], set()
    keypoints = _in_order(found.keypoints, found.keypoint_set)
    for annotation in annotations:
        similarities = keypoint_similarity(
            keypoints,
            annotation.keypoints,
            weights=annotation.labelled.astype(np.float32),
            area=annotation.area,
        )
        best = int(similarities.argmax()) if len(found) else -1
        similarity = float(similarities[best]) if len(found) else 0.0
        if similarity < FOUND:
            rows.append(PersonRow(name, similarity, *[np.nan] * 5))
            continue
        matched.add(best)
        error = _percent(keypoints[best], annotation)
        bodies = [np.nan] * 4
        if recoverer is not None:
            bodies = _bodies(recoverer, image, found.select([best]), annotation)
        rows.append(PersonRow(name, similarity, error, *bodies))
    return PhotoResult(rows, len(found) - len(matched), milliseconds), found


def _in_order(keypoints: FloatArray, names: KeypointSet) -> FloatArray:
    """COCO's 17 of a set that has them."""
    return keypoints[:, [names.index(name) for name in COCO_17.names]]


def _percent(keypoints: FloatArray, annotation: Annotation) -> float:
    away = np.linalg.norm(keypoints - annotation.keypoints, axis=-1)[annotation.labelled]
    x, y, width, height = annotation.rectangle
    return float(100 * away.mean() / Box.from_corners((x, y, x + width, y + height)).height)


def _bodies(
    recoverer: Recoverer,
    image: npt.NDArray[np.uint8],
    found: Detections,
    annotation: Annotation,
) -> list[float]:
    """The last four numbers of a `PersonRow`."""
    given = Keypoints(
        COCO_17, annotation.keypoints[None], annotation.labelled[None].astype(np.float32)
    )
    detected = recoverer.recover(image, found.to_keypoints())
    annotated = recoverer.recover(image, given)
    start = recoverer.recover(image, found.to_keypoints(), max_steps=0)
    if not len(detected) or not len(annotated):
        return [np.nan] * 4
    return [
        _percent(_in_order(start.keypoints_2d, start.keypoints.set)[0], annotation),
        _percent(_in_order(detected.keypoints_2d, detected.keypoints.set)[0], annotation),
        _percent(annotated.keypoints_2d[0], annotation),
        _pa_mpjpe(detected, annotated),
    ]


def _pa_mpjpe(one: Recovery, other: Recovery) -> float:
    """Millimetres between joints after the best similarity transform (Umeyama, 1991)."""
    a, b = (each.joints[0].astype(np.float64) for each in (one, other))
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    aligned = (s * signs).sum() / (a**2).sum() * (a @ (u * signs) @ vt)
    return float(1000 * np.linalg.norm(aligned - b, axis=1).mean())


def time_stages(
    photos: Sequence[npt.NDArray[np.uint8]], threads: int, rounds: int
) -> tuple[float, float]:
    """Median milliseconds of MoveNet's first look at a photograph, and of all looks."""
    medians = []
    for second_look in (False, True):
        detector = MovenetDetector(
            MovenetOptions(second_look=second_look), engine=EngineOptions(threads=threads)
        )
        times = []
        for photo in [photos[0], *photos] * rounds:
            started = time.perf_counter()
            detector(photo)
            times.append(1000 * (time.perf_counter() - started))
        medians.append(float(np.median(times[1:])))
    return medians[0], medians[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, prints tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--detector", help="as of dualhmr recover")
    parser.add_argument("--sides", type=int, nargs="+", help="of MoveNet's first look")
    parser.add_argument("--tiles", type=int, default=1, help="of MoveNet's first look")
    parser.add_argument("--no-second-look", action="store_true", help="MultiPose alone")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["whole"])
    parser.add_argument("--no-bodies", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="of timing MoveNet (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder for pictures of the keypoints")
    options = parser.parse_args(arguments)

    detector = open_detector(options.detector or _movenet(options))
    recoverer = None if options.no_bodies else Recoverer()
    results: list[PhotoResult] = []
    photos = list(read_photos(options.photos, options.annotations))
    for variant, photo in itertools.product(options.variants, photos):
        for each in VARIANTS[variant](photo):
            result, found = measure(each, detector, recoverer)
            results.append(result)
            if options.out:
                write_picture(options.out / variant / Path(each[0]).stem, each[1], found)
    print(_table([row for result in results for row in result.persons]))
    print("\n" + _summary(results))
    for threads in (1, 2) if options.rounds else ():
        first, both = time_stages([image for _, image, _ in photos], threads, options.rounds)
        print(
            f"{threads} thread(s): first look {first:.0f} ms, all looks {both:.0f} ms a photograph"
        )
    return 0


def _movenet(options: argparse.Namespace) -> MovenetDetector:
    sides = tuple(options.sides or MovenetOptions().sides)
    second = not options.no_second_look
    return MovenetDetector(MovenetOptions(sides=sides, tiles=options.tiles, second_look=second))


_TITLES = (
    "photo",
    "OKS",
    "keypoints, % of box",
    "body before",
    "body after",
    "body of annotated",
    "PA-MPJPE between, mm",
)


def _table(rows: list[PersonRow]) -> str:
    cells: list[Sequence[str]] = [_TITLES]
    for row in rows:
        numbers = (row.similarity, *row[2:6])
        cells.append((row.photo, *map(_shown, numbers), _shown(row.pa_mpjpe, 1)))
    with np.errstate(all="ignore"):
        columns = np.array([row[1:] for row in rows], float).reshape(len(rows), 6)
        medians = [np.nanmedian(each) if np.isfinite(each).any() else np.nan for each in columns.T]
    cells.append(("median of found", "", *map(_shown, medians[1:5]), _shown(medians[5], 1)))
    return markdown_table(cells)


def _shown(value: float, digits: int = 2) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _summary(results: list[PhotoResult]) -> str:
    similarities = np.array([row.similarity for each in results for row in each.persons])
    shares = [100 * (similarities >= least).mean() for least in (FOUND, WELL_FOUND)]
    milliseconds = np.median([each.milliseconds for each in results])
    return (
        f"{len(similarities)} annotated persons in {len(results)} photographs: "
        f"{shares[0]:.0f}% found with OKS >= {FOUND}, {shares[1]:.0f}% with >= {WELL_FOUND}; "
        f"{sum(each.others for each in results)} further detections; median {milliseconds:.0f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
