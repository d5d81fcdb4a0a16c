"""Recover the bodies in a photograph, or in a folder of them.

For each photograph this writes recovery.npz, overlay.png, steps.png and mesh.glb.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.engines import AUTO, BACKENDS, PROVIDERS, EngineOptions
from dualhmr.example import example
from dualhmr.images import list_images, load_image
from dualhmr.keypoints import KEYPOINT_SETS, Keypoints, keypoint_file_for, open_keypoint_file
from dualhmr.person_fitting import ADAPTATIONS
from dualhmr.recoverer import Recoverer
from dualhmr.recovery import Recovery, write_outputs

NAME = "recover"
DEFAULT_OUT = Path("dualhmr-out")


class Photograph(NamedTuple):
    """One photograph to recover from, and the folder for its results."""

    name: str
    read: Callable[[], tuple[npt.NDArray[np.uint8], Keypoints]]
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("image", type=Path, nargs="?", help="a photograph, or a folder of them")
    parser.add_argument(
        "--keypoints", type=Path, help="COCO or OpenPose JSON, or .npy; or a folder of them"
    )
    parser.add_argument("--example", action="store_true", help="use the example photograph")
    parser.add_argument(
        "--keypoint-set", choices=KEYPOINT_SETS, help="of the file; inferred if left out"
    )
    parser.add_argument("--bundle", type=Path, help="networks other than the default ones")
    parser.add_argument("--body", type=Path, help="body file, for bundles trained on SMPL")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder (%(default)s)")
    parser.add_argument("--schedule", choices=SCHEDULE_NAMES, help="the bundle's if left out")
    parser.add_argument("--max-steps", type=int, metavar="N")
    parser.add_argument("--focal-length", type=float, metavar="PIXELS", help="if it is known")
    parser.add_argument("--device", help="cpu (default) or cuda")
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


def run(options: argparse.Namespace) -> int:
    """Recovers, writes and reports."""
    photographs = _photographs(options)
    _check_writable(options.out)
    recoverer = Recoverer(
        options.bundle,
        body=options.body,
        device=options.device,
        backend=options.backend,
        adaptation=options.adaptation,
        options=EngineOptions(provider=options.provider, threads=options.threads),
    )
    if options.image and options.image.is_dir():
        _print_engines(recoverer)
        reports = _recover_folder(recoverer, photographs, options)
        failed = any("error" in each for each in reports.values())
        printed: dict[str, Any] = {"images": reports}
    else:
        printed, failed = _recover(recoverer, photographs[0], options), False
        # Only now: the error of a photograph that cannot be used stays the only line.
        _print_engines(recoverer)
    if options.json:
        print(json.dumps(printed, indent=2))
    return int(failed)


def _photographs(options: argparse.Namespace) -> list[Photograph]:
    if options.example:
        if options.image or options.keypoints:
            raise ValueError("--example brings its own photograph and keypoints; leave yours out")
        return [Photograph("example", example, options.out)]
    if not options.image or not options.keypoints:
        raise ValueError("give a photograph and --keypoints FILE, or --example")
    # One keypoint file may be for all photographs: it is parsed once.
    open_once = cache(open_keypoint_file)

    def photograph(path: Path, out: Path) -> Photograph:
        file = keypoint_file_for(options.keypoints, path)

        def read() -> tuple[npt.NDArray[np.uint8], Keypoints]:
            keypoint_file, image = open_once(file), load_image(path)
            height, width = image.shape[:2]
            return image, keypoint_file.keypoints(
                image_name=path.name,
                image_size=(width, height),
                keypoint_set=options.keypoint_set,
            )

        return Photograph(path.name, read, out)

    if not options.image.is_dir():
        return [photograph(options.image, options.out)]
    return [photograph(path, options.out / path.stem) for path in list_images(options.image)]


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


def _recover_folder(
    recoverer: Recoverer, photographs: list[Photograph], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Reports by name. A photograph that cannot be used does not stop the others."""
    reports = {}
    for number, photograph in enumerate(photographs, start=1):
        print(f"[{number}/{len(photographs)}] {photograph.name}", file=sys.stderr)
        try:
            reports[photograph.name] = _recover(recoverer, photograph, options)
        except (ValueError, TypeError, OSError) as error:
            reports[photograph.name] = {"error": str(error)}
            print(f"  {error}", file=sys.stderr)
    return reports


def _recover(
    recoverer: Recoverer, photograph: Photograph, options: argparse.Namespace
) -> dict[str, Any]:
    image, keypoints = photograph.read()
    recovery = recoverer.recover(
        image,
        keypoints,
        schedule=options.schedule,
        max_steps=options.max_steps,
        focal_length=options.focal_length,
    )
    for person, reason in recovery.skipped:
        print(f"  person {person} skipped: {reason}", file=sys.stderr)
    written = write_outputs(recovery, image, photograph.out)
    print(f"  {_summary(recovery)}; wrote {', '.join(map(str, written))}", file=sys.stderr)
    return _report(recovery)


def _print_engines(recoverer: Recoverer) -> None:
    print(f"networks: {recoverer.engine}", file=sys.stderr)
    print(f"adaptation: {recoverer.adaptation}", file=sys.stderr)


def _summary(recovery: Recovery) -> str:
    before, after = recovery.reprojection_px.mean(0)
    people = "1 person" if len(recovery) == 1 else f"{len(recovery)} persons"
    return f"{people}, keypoints {before:.1f} px off before adaptation, {after:.1f} px after"


def _report(recovery: Recovery) -> dict[str, Any]:
    """What `--json` prints for one photograph."""
    persons = [
        {
            "person": int(recovery.persons[index]),
            "steps": int(recovery.steps[index]),
            "stop_reason": recovery.stop_reason[index],
            "loss_history": list(recovery.loss_history[index]),
            "reprojection_px": {
                "before": float(recovery.reprojection_px[index, 0]),
                "after": float(recovery.reprojection_px[index, 1]),
            },
        }
        for index in range(len(recovery))
    ]
    return {
        "persons": persons,
        "skipped": [skipped._asdict() for skipped in recovery.skipped],
        "timings_ms": recovery.timings_ms,
        "engine": recovery.engine,
        "adaptation": recovery.adaptation,
    }
