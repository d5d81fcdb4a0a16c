"""Reproduce the paper's tables and figures in miniature, on data that anybody can make.

Trains networks on synthetic people of the free body, in poses of a prior or in captured ones,
adapts them to other people, and writes a table (Markdown, JSON) and plots beside the paper's
numbers. Trainings and evaluations are kept in --cache and shared: what is interrupted goes on,
what is done is not done again.
Run one command at a time on a cache. Budgets: small (two CPU cores, an hour or so for everything),
full (a GPU), tiny (minutes, shows that everything runs and nothing else).
"""

import argparse
import os
import sys
from pathlib import Path

NAME = "reproduce"
# Names alone: their modules import PyTorch, and `dualhmr --help` loads this module.
ARTEFACT_NAMES = (
    *("table1", "table2", "table3", "table5", "table6", "table7", "table8", "table9"),
    *("table10", "table11", "figure3", "figure4", "figure6", "scope", "schedule", "batch"),
    "evidence",
)
BUDGET_NAMES = ("small", "full", "tiny")
EVERYTHING = "all"
_SEEDS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("names", nargs="+", choices=(*ARTEFACT_NAMES, EVERYTHING), metavar="NAME",
                        help=f"{', '.join(ARTEFACT_NAMES)}, or {EVERYTHING}")  # fmt: skip
    parser.add_argument("--budget", choices=BUDGET_NAMES, default="small")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="how many (%(default)s)")
    parser.add_argument(
        "--poses", type=Path, metavar="PATH", help="captured poses to train on (default: the prior)"
    )
    parser.add_argument(
        "--test-poses", type=Path, metavar="PATH", help="of other clips, to test on"
    )
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="(%(default)s)")
    parser.add_argument("--cache", type=Path, help="trainings and evaluations (default: OUT/cache)")
    parser.add_argument(
        "--jobs", type=int, help="trainings at a time, a thread each (default: cores; GPU: 1)"
    )
    parser.add_argument("--device", default="cpu", help="of trainings: cpu (default) or cuda")


def run(options: argparse.Namespace) -> int:
    """Measures, and writes a folder for each name."""
    for name in ("seeds", "jobs"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} is {number}, expected 1 or more")
    try:
        import matplotlib  # noqa: F401
        import torch

        from dualhmr_benchmarks.claims.experiments.recipes import BUDGETS
        from dualhmr_benchmarks.claims.experiments.setting import Setting, pose_files
        from dualhmr_benchmarks.claims.reproduce import ARTEFACTS, reproduce
    except ImportError as error:
        raise ImportError(
            f'{error}; reproducing needs pip install "dualhmr[training,plot]"'
        ) from error
    cache = options.cache or options.out / "cache"
    poses, test_poses = pose_files(options.poses, options.test_poses, cache)
    setting = Setting(
        budget=BUDGETS[options.budget],
        poses=poses,
        test_poses=test_poses,
        cache=cache,
        seeds=tuple(range(1, options.seeds + 1)),
        jobs=options.jobs or (1 if options.device == "cuda" else os.cpu_count() or 1),
        device=options.device,
    )
    setting.check()
    if options.device == "cpu":
        torch.set_num_threads(1)
    names = ARTEFACT_NAMES if EVERYTHING in options.names else dict.fromkeys(options.names)
    for name in names:
        folder = options.out / name
        reproduce(ARTEFACTS[name], setting, folder, say=_say)
        print((folder / "table.md").read_text(encoding="utf-8"))
    return 0


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
