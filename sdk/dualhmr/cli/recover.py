"""Recover the bodies in a photograph, or in a folder of them.

For each photograph this writes recovery.npz, overlay.png, steps.png and mesh.glb.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.engines import AUTO, BACKENDS, PROVIDERS, EngineOptions
from dualhmr.images import list_images, load_image
from dualhmr.keypoints import (
    KEYPOINT_SETS,
    KeypointFile,
    Keypoints,
    keypoint_file_for,
    open_keypoint_file,
)
from dualhmr.person_fitting import ADAPTATIONS
from dualhmr.recoverer import Recoverer
from dualhmr.recovery import Recovery, check_writable, write_outputs

NAME = "recover"
DEFAULT_OUT = Path("dualhmr-out")


class Job(NamedTuple):
    """One photograph to recover from."""

    name: str
    image: Path
    keypoints: Path
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("image", type=Path, nargs="?", help="a photograph, or a folder of them")
    parser.add_argument(
        "--keypoints", type=Path, help="COCO or OpenPose JSON, or .npy; or a folder of them"
    )
    parser.add_argument("--example", action="store_true", help="use the example photograph")
    parser.add_argument("--keypoint-set", choices=KEYPOINT_SETS, help="inferred where left out")
    parser.add_argument("--bundle", type=Path, help="networks other than the default ones")
    parser.add_argument("--body", type=Path, help="body file, for bundles trained on SMPL")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder (%(default)s)")
    parser.add_argument("--schedule", choices=SCHEDULE_NAMES, help="the bundle's own otherwise")
    parser.add_argument("--max-steps", type=int, metavar="N")
    parser.add_argument("--focal-length", type=float, metavar="PIXELS", help="where it is known")
    parser.add_argument("--device", help="cpu (default) or cuda")
    parser.add_argument(
        "--backend", choices=BACKENDS, default=AUTO, help="of the frozen networks (%(default)s)"
    )
    parser.add_argument(
        "--adaptation", choices=ADAPTATIONS, default=AUTO, help="by PyTorch or not (%(default)s)"
    )
    parser.add_argument("--provider", choices=PROVIDERS, help="of ONNX Runtime; by device")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """Recovers, writes and reports."""
    if options.example:
        if options.image or options.keypoints:
            raise ValueError("--example brings its own photograph and keypoints; leave yours out")
        return _run_example(options)
    if not options.image or not options.keypoints:
        raise ValueError("give a photograph and --keypoints FILE, or --example")
    jobs = _jobs(options)
    check_writable(options.out)
    recoverer = _recoverer(options)
    files: dict[Path, KeypointFile] = {}
    if not options.image.is_dir():
        printed = _run_job(recoverer, options, jobs[0], files)
        _tell_networks(recoverer)
        return _finish(options, printed)
    _tell_networks(recoverer)
    reports: dict[str, Any] = {}
    for number, job in enumerate(jobs, start=1):
        print(f"[{number}/{len(jobs)}] {job.name}", file=sys.stderr)
        try:
            reports[job.name] = _run_job(recoverer, options, job, files)
        except (ValueError, TypeError, OSError) as error:
            # One photograph that cannot be used shall not cost the others.
            reports[job.name] = {"error": str(error)}
            print(f"  {error}", file=sys.stderr)
    failed = any("error" in each for each in reports.values())
    return _finish(options, {"images": reports}) or int(failed)


def _run_example(options: argparse.Namespace) -> int:
    from dualhmr.example import example

    check_writable(options.out)
    image, keypoints = example()
    recoverer = _recoverer(options)
    printed = _recover(recoverer, options, image, keypoints, options.out)
    _tell_networks(recoverer)
    return _finish(options, printed)


def _tell_networks(recoverer: Recoverer) -> None:
    """Of one photograph only after it: what cannot be used is told in one line."""
    print(f"networks: {recoverer.engine}", file=sys.stderr)
    print(f"adaptation: {recoverer.adaptation}", file=sys.stderr)


def _finish(options: argparse.Namespace, printed: dict[str, Any]) -> int:
    if options.json:
        print(json.dumps(printed, indent=2))
    return 0


def _jobs(options: argparse.Namespace) -> list[Job]:
    """The photographs, each with its keypoint file and its place for results."""
    if not options.image.is_dir():
        keypoints = keypoint_file_for(options.keypoints, options.image)
        return [Job(options.image.name, options.image, keypoints, options.out)]
    return [
        Job(
            image.name, image, keypoint_file_for(options.keypoints, image), options.out / image.stem
        )
        for image in list_images(options.image)
    ]


def _recoverer(options: argparse.Namespace) -> Recoverer:
    return Recoverer(
        options.bundle,
        body=options.body,
        device=options.device,
        backend=options.backend,
        adaptation=options.adaptation,
        options=EngineOptions(provider=options.provider, threads=options.threads),
    )


def _run_job(
    recoverer: Recoverer, options: argparse.Namespace, job: Job, files: dict[Path, KeypointFile]
) -> dict[str, Any]:
    if job.keypoints not in files:
        files[job.keypoints] = open_keypoint_file(job.keypoints)
    image = load_image(job.image)
    keypoints = files[job.keypoints].keypoints(
        image_name=job.image.name,
        image_size=(image.shape[1], image.shape[0]),
        keypoint_set=options.keypoint_set,
    )
    return _recover(recoverer, options, image, keypoints, job.out)


def _recover(
    recoverer: Recoverer,
    options: argparse.Namespace,
    image: npt.NDArray[np.uint8],
    keypoints: Keypoints,
    out: Path,
) -> dict[str, Any]:
    recovery = recoverer.recover(
        image,
        keypoints,
        schedule=options.schedule,
        max_steps=options.max_steps,
        focal_length=options.focal_length,
    )
    for person, reason in recovery.skipped:
        print(f"  person {person} skipped: {reason}", file=sys.stderr)
    written = write_outputs(recovery, image, out)
    print(f"  {summary(recovery)}; wrote {', '.join(map(str, written))}", file=sys.stderr)
    return report(recovery)


def summary(recovery: Recovery) -> str:
    """One line on a recovery."""
    before, after = recovery.reprojection_px.mean(0)
    people = "1 person" if len(recovery) == 1 else f"{len(recovery)} persons"
    return f"{people}, keypoints {before:.1f} px off before adaptation, {after:.1f} px after"


def report(recovery: Recovery) -> dict[str, Any]:
    """What `--json` prints of one photograph."""
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
