"""Measure how far recovered bodies are from the truth, before and after every step of adaptation.

Evaluates a bundle, or the networks in a folder that `dualhmr train` wrote. `--data synthetic` poses
their body by a pose prior or by `--poses`, and shows its 17 COCO keypoints with noise, and pictures
of it to networks that read the image. The other data are the test sets of that name, which you have
to bring. Errors after a step are those of what is returned when adaptation ends there: the best
iterate so far, or the last one of the schedule `release`.
"""

import argparse
from pathlib import Path

from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr_training.evaluation.protocols import DATA, KEYPOINTS

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
    report.add_argument("--by-category", action="store_true", help="a table by category of pose")
    report.add_argument(
        "--against", type=Path, metavar="FILE", help="--json of other networks on the same people"
    )
    report.add_argument("--json", type=Path, metavar="FILE", help="every step, every joint")
    report.add_argument("--plot", type=Path, metavar="FILE", help="error against step (.png)")


def _add_synthetic(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--poses", type=Path, metavar="PATH",
        help="file or folder (ours, AMASS, SMPL; default: samples of the pose prior)",
    )  # fmt: skip
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
    group.add_argument(
        "--detected",
        action="store_true",
        help="also with keypoints that have the default detector's errors",
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
    # Here, since every subcommand of `dualhmr` would wait for it, and the others have no need.
    from dualhmr_training.evaluation.run import run_evaluation

    run_evaluation(options)
    return 0
