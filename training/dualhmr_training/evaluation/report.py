"""An evaluation for people and for programs: a Markdown table, and JSON."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from dualhmr.files import atomic_path
from dualhmr.plain_data import from_plain
from dualhmr_training.evaluation.results import MEASURES, Curve, Evaluation, Report

NO_ADAPTATION = "none"


def table(report: Report, *, every_step: bool = False) -> str:
    """Mean errors with standard errors over people, in Markdown.

    For every group of people a row before adaptation, and one for each schedule after it, with the
    mean number of steps taken. With `every_step` each schedule has a row for every step instead.
    """
    shown = [name for name in MEASURES if name in report.evaluations[0].measures]
    titles = ["keypoints", "schedule", "Adam's rate", "steps"]
    titles += [MEASURES[name].title for name in shown]
    rows = [titles, ["---"] * len(titles)]
    before: set[str] = set()
    for evaluation in report.evaluations:
        if every_step:
            rows += _every_step(evaluation, shown)
            continue
        if evaluation.keypoints not in before:
            before.add(evaluation.keypoints)
            rows.append(
                [evaluation.keypoints, NO_ADAPTATION, "", "0", *_cells(evaluation, shown, 0)]
            )
        rows.append(
            [*_names(evaluation), f"{evaluation.mean_steps:.1f}", *_cells(evaluation, shown, -1)]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_json(report: Report, path: str | os.PathLike[str]) -> None:
    """Writes everything, every step and every joint; whole, or not at all."""
    text = json.dumps(asdict(report), indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Report:
    """What `write_json` wrote. ValueError where it is not that."""
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        return from_plain(Report, plain)
    except ValueError as error:
        raise ValueError(f"{path} is not the JSON of an evaluation: {error}") from error


def _every_step(evaluation: Evaluation, shown: list[str]) -> Iterator[list[str]]:
    for step in range(evaluation.max_steps + 1):
        yield [*_names(evaluation), str(step), *_cells(evaluation, shown, step)]


def _names(evaluation: Evaluation) -> list[str]:
    return [evaluation.keypoints, evaluation.schedule, f"{evaluation.adam_rate:g}"]


def _cells(evaluation: Evaluation, shown: list[str], step: int) -> list[str]:
    return [_cell(name, evaluation.measures[name], step) for name in shown]


def _cell(name: str, curve: Curve, step: int) -> str:
    _, digits, scale = MEASURES[name]
    mean = f"{scale * curve.mean[step]:.{digits}f}"
    if curve.standard_error is None:
        return mean
    return f"{mean} ± {scale * curve.standard_error[step]:.{digits}f}"
