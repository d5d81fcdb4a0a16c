"""A reproduction for people and for programs: tables in Markdown, and JSON."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from dualhmr.files import markdown_table, write_json, write_text
from dualhmr.plain_data import from_plain
from dualhmr_benchmarks.claims.reports.report import (
    Difference,
    Line,
    Report,
    agrees,
    mean_and_deviation,
    verdict,
)
from dualhmr_training.evaluation.report import MEASURES, Measure

TABLE, DATA = "table.md", "table.json"


def write_report(report: Report, folder: str | os.PathLike[str]) -> None:
    """Writes `TABLE` and `DATA` into `folder`, which it makes; each whole, or not at all.

    ValueError where a number is not finite: then neither is written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    # First what may be refused.
    write_json(Path(folder) / DATA, asdict(report))
    write_text(Path(folder) / TABLE, markdown(report))


def read_report(path: str | os.PathLike[str]) -> Report:
    """What `write_report` wrote as `DATA`. ValueError where it is not that."""
    try:
        return from_plain(Report, json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is not the JSON of a reproduction: {error}") from error


def how_shown(measure: str) -> Measure:
    """How a measure is shown, also one that `MEASURES` does not have, such as the objective."""
    return MEASURES.get(measure, Measure(measure, 4))


def measures_of(lines: Iterable[Line]) -> list[str]:
    """Those that any line has, in the order of `MEASURES`, others last."""
    found = list(dict.fromkeys(name for line in lines for name in line.measured))
    return [name for name in MEASURES if name in found] + [
        name for name in found if name not in MEASURES
    ]


def markdown(report: Report) -> str:
    """All of it: the paper's claim, lines, differences, and what it takes to run it again."""
    parts = [f"# {report.name}: {report.title}", f"The paper: {report.says}"]
    if report.lines:
        parts += [markdown_table(_of_lines(report.lines)), _what_lines_are(report)]
    if report.differences:
        parts += [
            markdown_table(_of_differences(report.differences)),
            _what_differences_are(report),
        ]
    parts.append(report.comparable)
    parts.append("\n".join(f"- {name}: {fact}" for name, fact in report.facts.items()))
    if report.trainings:
        parts.append(markdown_table(_of_trainings(report.trainings)))
    return "\n\n".join(filter(None, parts)) + "\n"


def _what_lines_are(report: Report) -> str:
    several = any(len(one.by_seed) > 1 for each in report.lines for one in each.measured.values())
    return f"Means over people{' and seeds, ± standard deviation over seeds' if several else ''}."


def _what_differences_are(report: Report) -> str:
    seeds = max(len(each.by_seed) for each in report.differences)
    luck = (
        "One seed cannot tell a method from the luck of its training."
        if seeds == 1
        else f"Methods that differ by the luck of training alone have {seeds} seeds on one side of "
        f"zero one time in {2 ** (seeds - 1)}."
    )
    return (
        "Differences are paired person by person: mean, 95% confidence interval over people, mean "
        "of each seed. One is shown where the interval and every seed are on the same side of "
        f"zero. {luck} People count as independent, and are less so where poses come from few "
        "clips."
    )


def _of_lines(lines: Sequence[Line]) -> Iterator[Sequence[str]]:
    """A row for each line under its titles, with the paper's column beside ours."""
    shown = measures_of(lines)
    in_paper = {name for line in lines for name in line.paper}
    noted = any(line.note for line in lines)
    titles = ["method"]
    for name in shown:
        titles += [how_shown(name).title, *(["paper"] if name in in_paper else [])]
    yield titles + ["note"] * noted
    for line in lines:
        cells = [line.label]
        for name in shown:
            cells += [_ours(line, name), *([_papers(line, name)] if name in in_paper else [])]
        yield cells + [line.note] * noted


def _ours(line: Line, name: str) -> str:
    if name not in line.measured:
        return ""
    mean, deviation = mean_and_deviation(line.measured[name])
    _, digits, scale = how_shown(name)
    around = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return f"{scale * mean:.{digits}f}{around}"


def _papers(line: Line, name: str) -> str:
    _, digits, scale = how_shown(name)
    return f"{scale * line.paper[name]:.{digits}f}" if name in line.paper else ""


def _of_differences(differences: Sequence[Difference]) -> Iterator[Sequence[str]]:
    yield "difference", "measure", "mean", "95%", "by seed", "verdict", "paper", "agrees"
    for each in differences:
        title, digits, scale = how_shown(each.measure)
        # Paired differences are known more exactly than errors: one more digit than those.
        mean, low, high, *by_seed = (
            f"{scale * value:+.{digits + 1}f}"
            for value in (each.mean, each.low, each.high, *each.by_seed)
        )
        paper = "" if each.paper is None else f"{scale * each.paper:+.{digits}f}"
        seeds = ", ".join(by_seed)
        row = (each.label, title, mean, f"[{low}, {high}]", seeds, verdict(each))
        yield *row, paper, agrees(each)


def _of_trainings(trainings: Sequence[dict[str, str]]) -> Iterator[Sequence[str]]:
    titles = list(dict.fromkeys(title for each in trainings for title in each))
    yield titles
    for each in trainings:
        yield [each.get(title, "") for title in titles]
