"""Measure how far recovered bodies are from the truth, before and after every step of adaptation.

Evaluates a bundle, or the networks in a folder that `dualhmr train` wrote. `--data synthetic` poses
their body as a file of captured poses says and shows its 17 COCO keypoints with noise, and pictures
of it to networks that read the image. The other data are the test sets of that name, which you have
to bring. Errors after a step are those of the best iterate so far: of what is returned when
adaptation ends there.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dualhmr.adaptation import SCHEDULE_NAMES
from dualhmr.body import fitting_body
from dualhmr_training.evaluation.adapting import PeopleAdapter
from dualhmr_training.evaluation.evaluate import evaluate
from dualhmr_training.evaluation.evaluation_options import (
    DATA,
    check_options,
    chosen_groups,
    chosen_schedules,
    chosen_weights,
    described,
)
from dualhmr_training.evaluation.licensed import KEYPOINTS
from dualhmr_training.evaluation.networks import check_schedules, open_networks
from dualhmr_training.evaluation.plot import write_plot
from dualhmr_training.evaluation.report import table, write_json
from dualhmr_training.evaluation.results import Report
from dualhmr_training.evaluation.subjects import Group
from dualhmr_training.spin_joints import read_extra_joints

NAME = "evaluate"
_DEFAULT_SEED = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "networks", type=Path, nargs="?", help="bundle or training (default: the default bundle)"
    )
    parser.add_argument("--data", choices=DATA, default=DATA[0])
    parser.add_argument("--count", type=int, help="people (synthetic: 200; others: all)")
    parser.add_argument("--body", type=Path, help="body file, for networks trained on SMPL")
    parser.add_argument("--threads", type=int, help="CPU threads")
    _add_synthetic(parser.add_argument_group("synthetic people"))
    _add_licensed(parser.add_argument_group("licensed data sets"))
    adaptation = parser.add_argument_group("adaptation (default: as the networks say)")
    adaptation.add_argument("--schedule", nargs="+", choices=SCHEDULE_NAMES)
    adaptation.add_argument("--adam-rate", type=float, nargs="+", metavar="RATE")
    adaptation.add_argument("--descent-rate", type=float, metavar="RATE", help="of the plain step")
    adaptation.add_argument("--max-steps", type=int, metavar="N")
    adaptation.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="LOSS=WEIGHT",
        help="of one loss, such as keypoints_2d=2; may be repeated",
    )
    report = parser.add_argument_group("report")
    report.add_argument("--every-step", action="store_true", help="a row for each step")
    report.add_argument("--json", type=Path, metavar="FILE", help="every step, every joint")
    report.add_argument("--plot", type=Path, metavar="FILE", help="error against step (.png)")


def _add_synthetic(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--poses", type=Path, metavar="FILE", help="captured poses (.npz)")
    group.add_argument(
        "--held-out",
        action="store_true",
        help="only the clips that training the default networks leaves out: choose rates there",
    )
    group.add_argument(
        "--noise",
        type=float,
        nargs="+",
        default=[0.02],
        metavar="LEVEL",
        help="of keypoints, in fractions of the person's size (0.02)",
    )
    group.add_argument("--seed", type=int, default=_DEFAULT_SEED, help="of people (%(default)s)")


def _add_licensed(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--datasets", type=Path, help="folder with a folder for each data set")
    group.add_argument("--annotations", type=Path, help="annotations of another name (.npz)")
    group.add_argument("--joint-regressor", type=Path, help="J_regressor_h36m.npy")
    group.add_argument("--extra-joints", type=Path, help="SPIN's J_regressor_extra.npy")
    group.add_argument("--keypoints", choices=KEYPOINTS, default="annotated")
    group.add_argument(
        "--gendered-bodies",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="folder of SMPL_MALE.pkl and SMPL_FEMALE.pkl, or both files, the male one first",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints the table, writes the files."""
    check_options(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    networks = open_networks(options.networks)
    weights = chosen_weights(options, networks.facts.weights)
    schedules = chosen_schedules(options, networks.facts.schedule)
    check_schedules(networks, weights, schedules)
    body = fitting_body(options.body, needed=networks.facts.body, networks=networks.source)
    extra = None if options.extra_joints is None else read_extra_joints(options.extra_joints)
    evaluations = []
    for group in chosen_groups(options, body, pictures="image" in networks.reads):
        adapter = PeopleAdapter(
            networks, body, group.keypoint_set, weights=weights, extra_joints=extra
        )
        evaluations += evaluate(adapter, group, schedules, progress=_progress(group))
    report = Report(
        bundle=networks.name,
        body=body.name,
        engine=f"torch {torch.__version__} cpu",
        data=options.data,
        options=described(options),
        evaluations=tuple(evaluations),
    )
    print(table(report, every_step=options.every_step))
    if options.json:
        write_json(report, options.json)
    if options.plot:
        write_plot(report, options.plot)
    return 0


def _progress(group: Group) -> Callable[[int], None]:
    """Says ten times or so how far it is."""
    next_told = 0

    def tell(done: int) -> None:
        nonlocal next_told
        if done >= next_told or done == group.count:
            print(f"{group.keypoints}: {done} of {group.count} people", file=sys.stderr, flush=True)
            next_told = done + group.count // 10

    return tell
