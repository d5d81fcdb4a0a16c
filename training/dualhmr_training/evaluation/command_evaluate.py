"""Measure how far recovered bodies are from the truth, before and after every step of adaptation.

People are recovered as `dualhmr recover` would. `--data synthetic` poses the bundle's body as a
file of captured poses says and shows its 17 COCO keypoints with noise. Errors after a step are
those of the best iterate so far: of what is returned when adaptation ends there.
"""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from dualhmr import Recoverer
from dualhmr.adaptation import SCHEDULE_NAMES, Schedule
from dualhmr.manifest import ScheduleDefaults
from dualhmr_training.evaluation.evaluate import evaluate
from dualhmr_training.evaluation.plot import check_plot, write_plot
from dualhmr_training.evaluation.report import table, write_json
from dualhmr_training.evaluation.results import Evaluation, Report
from dualhmr_training.evaluation.subjects import skeleton_joints
from dualhmr_training.evaluation.synthetic import (
    check_reads_no_image,
    read_pool,
    synthetic_subjects,
)

NAME = "evaluate"
DATA = ("synthetic",)
_DEFAULT_SEED = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("bundle", type=Path, nargs="?", help="the default networks if left out")
    parser.add_argument("--data", choices=DATA, default=DATA[0])
    parser.add_argument("--poses", type=Path, metavar="FILE", help="captured poses (.npz)")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="only the clips that training the default networks leaves out: choose rates there",
    )
    parser.add_argument(
        "--noise",
        type=float,
        nargs="+",
        default=[0.02],
        metavar="LEVEL",
        help="of keypoints, in fractions of the person's size (0.02)",
    )
    parser.add_argument("--count", type=int, default=200, help="people (%(default)s)")
    parser.add_argument("--seed", type=int, default=_DEFAULT_SEED, help="of people (%(default)s)")
    parser.add_argument(
        "--schedule", nargs="+", choices=SCHEDULE_NAMES, help="the bundle's own otherwise"
    )
    parser.add_argument(
        "--adam-rate", type=float, nargs="+", metavar="RATE", help="the bundle's own otherwise"
    )
    parser.add_argument("--max-steps", type=int, metavar="N")
    parser.add_argument("--body", type=Path, help="body file, for bundles trained on SMPL")
    parser.add_argument("--every-step", action="store_true", help="a row for each step")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every step, every joint")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="error against step (.png)")


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints the table, writes the files."""
    _check(options)
    pool = read_pool(options.poses, held_out=options.held_out)
    recoverer = Recoverer(options.bundle, body=options.body)
    check_reads_no_image(recoverer.bundle)
    schedules = _schedules(options, recoverer.bundle.manifest.schedule)
    evaluations = [
        evaluation
        for level in dict.fromkeys(options.noise)
        for evaluation in _evaluate(recoverer, pool, level, schedules, options)
    ]
    report = Report(
        bundle=recoverer.bundle.manifest.name,
        body=recoverer.body.name,
        engine=recoverer.engine,
        data=options.data,
        options={
            "poses": options.poses.name,
            "clips": "held out" if options.held_out else "all",
            "seed": str(options.seed),
        },
        evaluations=tuple(evaluations),
    )
    print(table(report, every_step=options.every_step))
    if options.json:
        write_json(report, options.json)
    if options.plot:
        write_plot(report, options.plot)
    return 0


def _evaluate(
    recoverer: Recoverer,
    pool: Tensor,
    noise: float,
    schedules: list[Schedule],
    options: argparse.Namespace,
) -> list[Evaluation]:
    name = f"noise {noise:g}"
    joints = skeleton_joints(recoverer.body)

    def progress(done: int) -> None:
        if done % max(1, options.count // 10) == 0 or done == options.count:
            print(f"{name}: {done} of {options.count} people", file=sys.stderr, flush=True)

    subjects = synthetic_subjects(
        recoverer.body, pool, joints, noise=noise, count=options.count, seed=options.seed
    )
    return evaluate(recoverer, subjects, schedules, joints, keypoints=name, progress=progress)


def _check(options: argparse.Namespace) -> None:
    """What can be refused before any work is done."""
    if options.poses is None:
        raise ValueError("--data synthetic needs --poses FILE.npz, captured poses to put people in")
    if options.count < 1:
        raise ValueError(f"--count is {options.count}, expected 1 or more")
    for level in options.noise:
        if not 0 <= level <= 1:
            raise ValueError(f"--noise is {level:g}, expected a fraction of the size, from 0 to 1")
    for rate in options.adam_rate or ():
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"--adam-rate is {rate:g}, expected more than 0")
    for path in filter(None, (options.json, options.plot)):
        if path.is_dir() or not path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: it must be a file in an existing folder")
    if options.plot:
        check_plot(options.plot)


def _schedules(options: argparse.Namespace, defaults: ScheduleDefaults) -> list[Schedule]:
    """Those asked for, each at all the rates asked for, each once."""
    schedules = [
        replace(defaults, adam_rate=rate).schedule(name)
        for name in dict.fromkeys(options.schedule or [defaults.name])
        for rate in dict.fromkeys(options.adam_rate or [defaults.adam_rate])
    ]
    if options.max_steps is None:
        return schedules
    return [schedule.limited_to(options.max_steps) for schedule in schedules]
