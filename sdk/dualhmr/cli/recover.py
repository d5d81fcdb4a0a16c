"""Recover the bodies in a photograph, or in a folder of them.

For each photograph this writes recovery.npz, overlay.png, steps.png and mesh.glb. The exit status
is 0 if every photograph could be used, even with nobody in it, and 1 otherwise.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from dualhmr.adaptation.schedule import ITERATES, SCHEDULE_NAMES
from dualhmr.body.files import FREE_BODY
from dualhmr.cli.photographs import (
    BOXES,
    KeypointOptions,
    Photograph,
    example_photograph,
    find_photographs,
)
from dualhmr.cli.pseudo_meshes import OTHER_BETAS, read_pseudo_meshes
from dualhmr.cli.report import as_json, lines, report
from dualhmr.engines import AUTO, BACKENDS, PROVIDERS, EngineOptions
from dualhmr.images import scan_folder
from dualhmr.keypoints import KEYPOINT_SETS, MIN_CONFIDENCE, MIN_PERSON_SCORE
from dualhmr.keypoints.frames import FRAMES
from dualhmr.person_fitting import ADAPTATIONS
from dualhmr.recoverer import Recoverer
from dualhmr.recovery import OUTPUTS, write_outputs

NAME = "recover"
DEFAULT_OUT = Path("dualhmr-out")
PICTURES = ("overlay", "steps")
EXPECTED_ERRORS = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)
"""Whose message is for users; of others the traceback is printed too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("image", type=Path, nargs="?", help="a photograph, or a folder of them")
    parser.add_argument(
        "--keypoints", type=Path, help="COCO or OpenPose JSON, or .npy; or a folder of them"
    )
    parser.add_argument("--example", action="store_true", help="use the example photograph")
    _add_input_options(parser.add_argument_group("reading photographs and keypoints"))
    parser.add_argument("--bundle", type=Path, help="networks other than the default ones")
    parser.add_argument("--body", type=Path, help="body file, for bundles trained on SMPL")
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
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder (%(default)s)")
    parser.add_argument(
        "--save",
        type=_outputs,
        default=tuple(OUTPUTS),
        metavar="LIST",
        help=f"what to write, of {','.join(OUTPUTS)} (all)",
    )
    parser.add_argument("--no-pictures", action="store_true", help="write no overlay and no steps")
    parser.add_argument("--schedule", choices=SCHEDULE_NAMES, help="the bundle's if left out")
    parser.add_argument("--max-steps", type=int, metavar="N")
    parser.add_argument(
        "--iterate",
        choices=ITERATES,
        help="which iterate is the result: the one with the lowest loss, or the last "
        "(best; of the schedule release, last)",
    )
    parser.add_argument("--focal-length", type=float, metavar="PIXELS", help="if it is known")
    parser.add_argument("--device", help="cpu (default), cuda or cuda:1")
    parser.add_argument(
        "--backend", choices=BACKENDS, default=AUTO, help="of the frozen networks (%(default)s)"
    )
    parser.add_argument(
        "--adaptation",
        choices=ADAPTATIONS,
        default=AUTO,
        help="with PyTorch or without (%(default)s)",
    )
    parser.add_argument(
        "--provider", choices=PROVIDERS, help="of ONNX Runtime; that of the device if left out"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_input_options(group: Any) -> None:
    group.add_argument(
        "--keypoint-set", choices=KEYPOINT_SETS, help="of the file; inferred if left out"
    )
    group.add_argument(
        "--points-frame",
        choices=FRAMES,
        help="of the keypoints: the photograph turned by EXIF or not; what fits if left out",
    )
    group.add_argument(
        "--score-scale",
        type=float,
        default=1.0,
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
    group.add_argument(
        "--min-person-score",
        type=float,
        default=MIN_PERSON_SCORE,
        metavar="S",
        help="persons with a lower score of the detector are skipped (%(default)s)",
    )
    group.add_argument(
        "--boxes",
        choices=BOXES,
        default=BOXES[0],
        help="what a person's box is made from: keypoints, or the bbox in the keypoint file",
    )
    group.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="largest width times height of a photograph (twice Pillow's limit, 179 million)",
    )


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
    printed: dict[str, Any] = {}
    try:
        return _run(options, printed)
    except BaseException as error:  # also an interruption: what was done is reported
        printed["error"] = str(error) or type(error).__name__
        raise
    finally:
        if options.json:
            print(as_json(printed))


def _run(options: argparse.Namespace, printed: dict[str, Any]) -> int:
    """Fills in what is printed."""
    photographs = _photographs(options)
    _check_writable(options.out)
    _check_inputs_stay(photographs, options)
    recoverer = Recoverer(
        options.bundle,
        body=options.body,
        extra_joints=options.extra_joints,
        device=options.device,
        backend=options.backend,
        adaptation=options.adaptation,
        options=EngineOptions(provider=options.provider, threads=options.threads),
        auxiliary=options.auxiliary,
    )
    if not (options.image and options.image.is_dir()):
        printed |= _recover(recoverer, photographs[0], options)
        # Only now: the error of a photograph that cannot be used stays the only line.
        _print_engines(recoverer)
        return 0
    _print_engines(recoverer)
    reports: dict[str, dict[str, Any]] = {}
    unread = scan_folder(options.image).unread
    printed |= {"images": reports, "not_read": {path.name: what for path, what in unread.items()}}
    _recover_folder(recoverer, photographs, options, reports)
    for path, what in unread.items():
        print(f"not read: {path.name} is {what}", file=sys.stderr)
    failed = sum("error" in each for each in reports.values())
    if failed:
        print(f"{failed} of {len(reports)} photographs could not be used", file=sys.stderr)
    return int(failed > 0)


def _photographs(options: argparse.Namespace) -> list[Photograph]:
    if options.example:
        if options.image or options.keypoints:
            raise ValueError("--example brings its own photograph and keypoints; leave yours out")
        if options.boxes == "file":
            raise ValueError("--example has keypoints alone; leave --boxes file out")
        return [example_photograph(options.out)]
    if not options.image or not options.keypoints:
        raise ValueError("give a photograph and --keypoints FILE, or --example")
    reading = KeypointOptions(*(getattr(options, name) for name in KeypointOptions._fields))
    return find_photographs(
        options.image, options.keypoints, reading, max_pixels=options.max_pixels, out=options.out
    )


def _check_writable(folder: Path) -> None:
    """Makes `folder`. If it cannot be written to, this is an error before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(f"{folder} is a file; --out takes a folder") from error
    except PermissionError as error:
        raise PermissionError(f"no permission to make the folder {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write in the folder {folder}")


def _check_inputs_stay(photographs: list[Photograph], options: argparse.Namespace) -> None:
    """Raises ValueError where a result would replace a photograph."""
    inputs = {each.path.resolve() for each in photographs if each.path is not None}
    for photograph in photographs:
        for output in _chosen_outputs(options):
            target = photograph.out / OUTPUTS[output]
            if target.resolve() in inputs:
                raise ValueError(
                    f"{target} is a photograph, and results would replace it; choose another --out"
                )


def _chosen_outputs(options: argparse.Namespace) -> list[str]:
    return [each for each in options.save if not (options.no_pictures and each in PICTURES)]


def _recover_folder(
    recoverer: Recoverer,
    photographs: list[Photograph],
    options: argparse.Namespace,
    reports: dict[str, dict[str, Any]],
) -> None:
    """Adds reports by name. A photograph that cannot be used does not stop the others."""
    for number, photograph in enumerate(photographs, start=1):
        print(f"[{number}/{len(photographs)}] {photograph.name}", file=sys.stderr)
        try:
            reports[photograph.name] = _recover(recoverer, photograph, options)
        except Exception as error:  # of any kind: one photograph never costs the rest
            message = str(error) or type(error).__name__
            if not isinstance(error, EXPECTED_ERRORS):
                message = f"{type(error).__name__}: {error}"
                traceback.print_exc()
            reports[photograph.name] = {"error": message}
            print(f"  error: {message}", file=sys.stderr)


def _recover(
    recoverer: Recoverer, photograph: Photograph, options: argparse.Namespace
) -> dict[str, Any]:
    inputs = photograph.read()
    meshes, notes = None, inputs.notes
    if options.pseudo_mesh is not None:
        meshes = read_pseudo_meshes(options.pseudo_mesh, photograph.path or Path(photograph.name))
        notes += (OTHER_BETAS,) if recoverer.body.name == FREE_BODY else ()
    recovery = recoverer.recover(
        inputs.pixels,
        inputs.keypoints,
        boxes=inputs.boxes,
        pseudo_mesh=meshes,
        schedule=options.schedule,
        max_steps=options.max_steps,
        iterate=options.iterate,
        focal_length=options.focal_length,
    )
    written = write_outputs(recovery, inputs.pixels, photograph.out, _chosen_outputs(options))
    for line in lines(recovery, notes, written):
        print(f"  {line}", file=sys.stderr)
    return report(recovery, notes, written)


def _print_engines(recoverer: Recoverer) -> None:
    print(f"networks: {recoverer.engine}", file=sys.stderr)
    print(f"adaptation: {recoverer.adaptation}", file=sys.stderr)
