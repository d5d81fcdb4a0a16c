"""Find the people in a photograph, or in a folder of them, and their keypoints.

Writes keypoints.json in COCO's layout, for `dualhmr recover --keypoints`, and a picture of each
photograph. The exit status is 0 if every photograph could be used, even with nobody in it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.cli.photographs import (
    Outcome,
    Photograph,
    attempt,
    check_inputs_stay,
    check_writable,
    example_photograph,
    photographs_in,
    print_lines,
    report_each,
)
from dualhmr.cli.report import printed_report
from dualhmr.cli.shared_options import add_options
from dualhmr.compiling import usable_cpus
from dualhmr.detection import Detections, NamedDetector, open_detector, write_coco
from dualhmr.engines import EngineOptions
from dualhmr.recoverer.ordered_work import in_order

NAME = "detect"
_FILE = "keypoints.json"
_PICTURE = "keypoints.png"
Found = tuple[tuple[int, int], Detections]
"""Width and height of a photograph, and its people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("image", type=Path, nargs="?", help="a photograph, or a folder of them")
    parser.add_argument("--example", action="store_true", help="use the example photograph")
    add_options(parser, "detector", "min_person_score", "max_pixels", "out")
    parser.add_argument("--no-pictures", action="store_true", help="write keypoints.json only")
    add_options(parser, "threads")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """Detects, writes and reports."""
    with printed_report(as_json=options.json) as printed:
        return _run(options, printed)


def _run(options: argparse.Namespace, printed: dict[str, Any]) -> int:
    photographs = _photographs(options)
    check_writable(options.out)
    results = [] if options.no_pictures else [each.out / _PICTURE for each in photographs]
    check_inputs_stay(photographs, results)
    of_folder = options.image is not None and options.image.is_dir()
    detector = open_detector(
        options.detector,
        min_score=options.min_person_score,
        # Each photograph of a folder has a thread of its own.
        engine=EngineOptions(threads=1 if of_folder else options.threads),
    )
    found: dict[str, Found] = {}

    def work(photograph: Photograph) -> Outcome:
        return _detect(detector, photograph, found, picture=not options.no_pictures)

    failed = 0
    if of_folder:
        reports: dict[str, dict[str, Any]] = {}
        printed["images"] = reports
        threads = (options.threads or usable_cpus()) if detector.shareable else 1
        outcomes = in_order(
            lambda photograph: attempt(lambda: work(photograph)), photographs, threads=threads
        )
        failed = report_each(photographs, outcomes, reports)
        found = {each.name: found[each.name] for each in photographs if each.name in found}
    else:
        outcome = work(photographs[0])
        print_lines(outcome)
        printed |= outcome.report
    write_coco(options.out / _FILE, found)
    printed["file"] = str(options.out / _FILE)
    print(f"detector: {detector.name}; wrote {options.out / _FILE}", file=sys.stderr)
    return int(failed > 0)


def _photographs(options: argparse.Namespace) -> list[Photograph]:
    if options.example:
        if options.image:
            raise ValueError("--example brings its own photograph; leave yours out")
        return [example_photograph(options.out)]
    if not options.image:
        raise ValueError("give a photograph, a folder of them, or --example")
    return photographs_in(options.image, max_pixels=options.max_pixels, out=options.out)


def _detect(
    detector: NamedDetector,
    photograph: Photograph,
    found: dict[str, Found],
    *,
    picture: bool,
) -> Outcome:
    """Adds the detections to `found`."""
    inputs = photograph.read()
    detections = detector(inputs.pixels)
    height, width = inputs.pixels.shape[:2]
    if picture:
        write_picture(photograph.out, inputs.pixels, detections)
    found[photograph.name] = (width, height), detections
    count = len(detections)
    people = "nobody" if count == 0 else "1 person" if count == 1 else f"{count} persons"
    report = {
        "persons": [
            {"person": i, "score": float(s)} for i, s in enumerate(detections.person_scores)
        ],
        "notes": list(inputs.notes),
        "detector": detector.name,
    }
    return Outcome(report, [*(f"note: {note}" for note in inputs.notes), f"{people} found"])


def write_picture(folder: Path, image: npt.NDArray[np.uint8], detections: Detections) -> None:
    """Draws the people over the photograph (H, W, 3); makes the folder."""
    from dualhmr.rendering import keypoint_picture, write_png

    keypoints = detections.to_keypoints()
    folder.mkdir(parents=True, exist_ok=True)
    drawn = keypoint_picture(image, keypoints.xy, keypoints.confidence, names=keypoints.set.names)
    write_png(folder / _PICTURE, drawn)
