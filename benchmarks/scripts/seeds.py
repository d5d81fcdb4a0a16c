"""Compares training methods over several seeds, from what `dualhmr evaluate --json` wrote.

    python benchmarks/scripts/seeds.py --group ordinary a1.json a2.json a3.json \
        --group meta b1.json b2.json b3.json

Every group is one training method; groups have the same seeds in the same order and are evaluated
on the same people. Each cell is MPJPE / PA-MPJPE in millimetres: mean and standard deviation over
seeds. Further groups also get their difference from the first, seed by seed. A row is named by the
losses that adaptation minimises, which `paper` and `trained` have in common.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.files import markdown_table
from dualhmr_training.evaluation.report import Evaluation, EvaluationReport, read_evaluation_report

_MEASURES = ("mpjpe_mm", "pa_mpjpe_mm")
_BEFORE = "before adaptation"
_MINIMISED = {
    "eft": "keypoints (EFT)",
    "paper": "keypoints and pseudo mesh",
    "trained": "keypoints and pseudo mesh",
    "release": "pseudo mesh once, then keypoints",
}


class Condition(NamedTuple):
    """The row of an error: whose keypoints, and the losses that adaptation minimises."""

    keypoints: str
    minimised: str


Errors = dict[Condition, npt.NDArray[np.float64]]
"""(2, seeds) MPJPE and PA-MPJPE."""


def errors_of(report: EvaluationReport) -> dict[Condition, list[float]]:
    """MPJPE and PA-MPJPE before adaptation and after each schedule.

    ValueError if two schedules minimise the same losses, or one schedule has several rates.
    """
    errors: dict[Condition, list[float]] = {}
    for evaluation in report.evaluations:
        errors[Condition(evaluation.keypoints, _BEFORE)] = _at(evaluation, 0)
        row = Condition(evaluation.keypoints, _MINIMISED[evaluation.schedule])
        if row in errors:
            raise ValueError(f"{report.bundle}: more than one schedule or rate for {row}")
        errors[row] = _at(evaluation, -1)
    return errors


def _at(evaluation: Evaluation, step: int) -> list[float]:
    return [evaluation.measures[name].mean[step] for name in _MEASURES]


def gather(reports: Sequence[EvaluationReport]) -> Errors:
    """The errors of one group. ValueError if its reports differ in keypoints or schedules."""
    each = [errors_of(report) for report in reports]
    if any(errors.keys() != each[0].keys() for errors in each):
        raise ValueError("the evaluations of a group differ in keypoints or schedules")
    return {row: np.array([errors[row] for errors in each]).T for row in each[0]}


def table(groups: dict[str, Errors]) -> str:
    """Markdown, a row for every schedule on every group of people."""
    (first, reference), *others = groups.items()
    titles = ["keypoints", "adapted to", first]
    titles += [title for name, _ in others for title in (name, f"{name} - {first}")]
    rows = [titles]
    for row, errors in reference.items():
        cells = [row.keypoints, row.minimised, _cell(errors)]
        for _, other in others:
            cells += [_cell(other[row]), _cell(other[row] - errors, sign="+")]
        rows.append(cells)
    return markdown_table(rows)


def _cell(errors: npt.NDArray[np.float64], *, sign: str = "") -> str:
    deviations = errors.std(1, ddof=1)
    pairs = zip(errors.mean(1), deviations, strict=True)
    return " / ".join(f"{mean:{sign}.1f} ± {deviation:.1f}" for mean, deviation in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and the files, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--group", nargs="+", action="append", required=True, metavar=("NAME", "FILE")
    )
    options = parser.parse_args(arguments)
    names = [name for name, *_ in options.group]
    files = [[Path(file) for file in rest] for _, *rest in options.group]
    counts = {len(of_group) for of_group in files}
    if len(counts) > 1 or min(counts) < 2 or len(set(names)) < len(names):
        parser.error("every group needs a name of its own and the same number of files, 2 or more")
    reports = [[read_evaluation_report(file) for file in of_group] for of_group in files]
    people = {(r.data, *sorted(r.options.items())) for of_group in reports for r in of_group}
    if len(people) > 1:
        raise ValueError(f"these evaluations are on different people: {sorted(people)}")
    groups = {name: gather(each) for name, each in zip(names, reports, strict=True)}
    if any(errors.keys() != groups[names[0]].keys() for errors in groups.values()):
        raise ValueError("the groups differ in keypoints or in what they adapt to")
    print(table(groups))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
