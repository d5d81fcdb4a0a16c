"""Recover folders and lists of photographs and videos; go on where an interrupted job was.

Each item's results go into OUT/results, complete or not at all. The same command after an
interruption goes on. The exit status is 0 if every item has results, and 1 otherwise.
"""

import argparse
import sys
import time
from collections.abc import Callable

from dualhmr.cli.report import clock
from dualhmr.cli.shared_options import OF_RECOVERER, OF_SCHEDULE, add_options, chosen
from dualhmr.jobs import JobOptions, Progress, run_job
from dualhmr.outputs import OUTPUTS

NAME = "job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="photographs, videos, folders")
    parser.add_argument("--out", required=True, metavar="DIR", help="the job's folder")
    parser.add_argument("--list", dest="listed", metavar="FILE", help="paths, one a line")
    parser.add_argument("--recursive", action="store_true", help="look into folders in folders")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (one for each core, or one on a GPU)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="work on a Ray cluster; without an address, on a Ray on this machine",
    )
    parser.add_argument(
        "--restart", action="store_true", help="delete the results of a job with other options"
    )
    group = parser.add_argument_group("how items are recovered; one job has one set of these")
    group.add_argument(
        "--save",
        type=_listed,
        default=JobOptions.save,
        metavar="LIST",
        help=f"of a photograph, of {','.join(OUTPUTS)} (npz); overlay is of videos, too",
    )
    group.add_argument(
        "--motion-format",
        dest="motion_formats",
        type=_listed,
        default=JobOptions.motion_formats,
        metavar="LIST",
        help="of a video's motion files, as of dualhmr video (npz)",
    )
    group.add_argument(
        "--detect-every", type=int, default=1, metavar="N", help="frames of a video (%(default)s)"
    )
    add_options(group, "color")
    add_options(group, "detector", "min_person_score", "max_pixels", *OF_SCHEDULE, "focal_length")
    of_each = {"default": JobOptions.threads, "help": "of each process (%(default)s)"}
    add_options(group, *OF_RECOVERER, threads=of_each)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(","))


def run(options: argparse.Namespace) -> int:
    """Runs or continues the job and reports on stderr."""
    report = run_job(
        options.inputs,
        options.out,
        options=chosen(JobOptions, options),
        listed=options.listed,
        recursive=options.recursive,
        workers=options.workers,
        ray=options.ray,
        restart=options.restart,
        progress=_printer(),
    )
    print(
        f"{report.done} done, {report.kept} kept from before, {len(report.failed)} failed; "
        f"results are in {report.folder}",
        file=sys.stderr,
    )
    return int(bool(report.failed))


def _printer() -> Callable[[Progress], None]:
    """Prints a line for each item, with the time left at the pace of this run."""
    start, first = time.monotonic(), 0

    def show(progress: Progress) -> None:
        nonlocal first
        outcome, ended, total = progress
        first = first or ended - 1
        left = (time.monotonic() - start) / (ended - first) * (total - ended)
        what = f"error: {outcome.error}"
        if outcome.error is None:
            what = "done" if outcome.persons is None else f"{outcome.persons} persons"
        print(f"[{ended}/{total}] {outcome.item}: {what}; {clock(left)} left", file=sys.stderr)

    return show
