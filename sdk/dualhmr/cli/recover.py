"""Recover the bodies in a photograph, or in a folder of them.

People and their keypoints are found, or read from --keypoints.
For each photograph this writes recovery.npz, overlay.png, steps.png, mesh.glb, and result.html, a
page that shows the bodies in 3D. The exit status is 0 if every photograph could be used, even with
nobody in it, and 1 otherwise.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from dualhmr.cli.photographs import (
    BOXES,
    KeypointOptions,
    Photograph,
    attempt,
    check_inputs_stay,
    check_writable,
    example_photograph,
    find_photographs,
    print_lines,
    report_each,
)
from dualhmr.cli.recovering import Recovering, chosen_outputs
from dualhmr.cli.report import printed_report
from dualhmr.cli.shared_options import (
    OF_RECOVERER,
    OF_SCHEDULE,
    add_options,
    open_recoverer,
    schedule_options,
)
from dualhmr.compiling import usable_cpus
from dualhmr.detection import NamedDetector, open_detector
from dualhmr.engines import EngineOptions
from dualhmr.images import scan_folder
from dualhmr.keypoints import MIN_CONFIDENCE, NAMED_SETS
from dualhmr.keypoints.frames import FRAMES
from dualhmr.outputs import OUTPUTS, USUAL_OUTPUTS
from dualhmr.recoverer import Recoverer
from dualhmr.recoverer.ordered_work import in_order

NAME = "recover"
_OF_KEYPOINT_FILES = {
    "keypoint_set": None,
    "points_frame": None,
    "score_scale": 1.0,
    "min_confidence": MIN_CONFIDENCE,
    "boxes": BOXES[0],
}
"""Options that say how keypoint files are read, with their defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("image", type=Path, nargs="?", help="a photograph, or a folder of them")
    parser.add_argument(
        "--keypoints",
        type=Path,
        help="COCO or OpenPose JSON, or .npy, or a folder of them; without, people are found",
    )
    add_options(parser, "detector")
    parser.add_argument("--example", action="store_true", help="use the example photograph")
    _add_input_options(parser.add_argument_group("reading photographs and keypoints"))
    add_options(parser, "bundle", "body")
    parser.add_argument(
        "--extra-joints", type=Path, help="SPIN's J_regressor_extra.npy (default: the bundle's)"
    )
    parser.add_argument(
        "--pseudo-mesh",
        type=Path,
        metavar="FILE",
        help="another network's bodies, the target in place of the auxiliary network's: results of "
        "4D-Humans, PHALP, ROMP or our own; or a folder of them",
    )
    parser.add_argument(
        "--auxiliary", type=Path, metavar="ONNX", help="predicts the pseudo mesh, likewise"
    )
    add_options(parser, "out")
    parser.add_argument(
        "--save",
        type=_outputs,
        default=USUAL_OUTPUTS,
        metavar="LIST",
        help=f"what to write, of {','.join(OUTPUTS)} (all but gif)",
    )
    add_options(parser, "color")
    parser.add_argument(
        "--no-pictures", action="store_true", help="write no overlay, steps, page or gif"
    )
    add_options(parser, *OF_SCHEDULE, "focal_length")
    add_options(parser, *OF_RECOVERER[2:])
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_input_options(group: Any) -> None:
    group.add_argument(
        "--keypoint-set", choices=NAMED_SETS, help="of the file; inferred if left out"
    )
    group.add_argument(
        "--points-frame",
        choices=FRAMES,
        help="of the keypoints: the photograph turned by EXIF or not; what fits if left out",
    )
    group.add_argument(
        "--score-scale",
        type=float,
        default=_OF_KEYPOINT_FILES["score_scale"],
        metavar="S",
        help="the detector's best score, by which confidences are divided (%(default)s)",
    )
    group.add_argument(
        "--min-confidence",
        type=float,
        default=MIN_CONFIDENCE,
        metavar="C",
        help="keypoints below it count as missing (%(default)s)",
    )
    add_options(group, "min_person_score")
    group.add_argument(
        "--boxes",
        choices=BOXES,
        default=BOXES[0],
        help="what a person's box is made from: keypoints, or the bbox in the keypoint file",
    )
    add_options(group, "max_pixels")


def _outputs(text: str) -> tuple[str, ...]:
    chosen = [each.strip() for each in text.split(",")]
    unknown = [each for each in chosen if each not in OUTPUTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(map(repr, unknown))} cannot be saved; expected a list of "
            f"{','.join(OUTPUTS)}"
        )
    return tuple(output for output in OUTPUTS if output in chosen)


def run(options: argparse.Namespace) -> int:
    """Recovers, writes and reports."""
    with printed_report(as_json=options.json) as printed:
        return _run(options, printed)


def _run(options: argparse.Namespace, printed: dict[str, Any]) -> int:
    """Fills in what is printed."""
    photographs = _photographs(options)
    check_writable(options.out)
    check_inputs_stay(
        photographs,
        [each.out / OUTPUTS[output] for each in photographs for output in chosen_outputs(options)],
    )
    of_folder = options.image is not None and options.image.is_dir()
    detector = None
    if options.keypoints is None:
        # Each photograph of a folder has a thread of its own.
        engine = EngineOptions(threads=1 if of_folder else options.threads)
        detector = open_detector(
            options.detector, min_score=options.min_person_score, engine=engine
        )
    recoverer = open_recoverer(
        options, extra_joints=options.extra_joints, auxiliary=options.auxiliary
    )
    work = [Recovering(photograph, recoverer, detector, options) for photograph in photographs]
    if not of_folder:
        outcome = work[0].alone()
        print_lines(outcome)
        printed |= outcome.report
        # Only now: the error of a photograph that cannot be used stays the only line.
        _print_engines(recoverer, detector)
        return 0
    _print_engines(recoverer, detector)
    reports: dict[str, dict[str, Any]] = {}
    unread = scan_folder(options.image).unread
    printed |= {"images": reports, "not_read": {path.name: what for path, what in unread.items()}}
    results = recoverer.stream(
        [each.read for each in work], detector=detector, **schedule_options(options)
    )
    # Pictures take longer than bodies: threads write while others recover.
    outcomes = in_order(
        lambda pair: attempt(lambda: pair[0].write(pair[1])),
        zip(work, results, strict=True),
        threads=options.threads or usable_cpus(),
    )
    failed = report_each(photographs, outcomes, reports)
    for path, what in unread.items():
        print(f"not read: {path.name} is {what}", file=sys.stderr)
    return int(failed > 0)


def _photographs(options: argparse.Namespace) -> list[Photograph]:
    if options.keypoints is None:
        for name, default in _OF_KEYPOINT_FILES.items():
            if getattr(options, name) != default:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag} says how --keypoints are read, which did not come")
    elif options.detector is not None:
        raise ValueError("--detector came with --keypoints; leave one of them out")
    if options.example:
        if options.image or options.keypoints:
            raise ValueError("--example brings its own photograph; leave yours out")
        return [example_photograph(options.out)]
    if not options.image:
        raise ValueError("give a photograph, a folder of them, or --example")
    reading = KeypointOptions(*(getattr(options, name) for name in KeypointOptions._fields))
    return find_photographs(
        options.image, options.keypoints, reading, max_pixels=options.max_pixels, out=options.out
    )


def _print_engines(recoverer: Recoverer, detector: NamedDetector | None) -> None:
    if detector is not None:
        print(f"detector: {detector.name}", file=sys.stderr)
    print(f"networks: {recoverer.engine}", file=sys.stderr)
    print(f"adaptation: {recoverer.adaptation}", file=sys.stderr)
