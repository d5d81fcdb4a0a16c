"""The result of a reproduction: as data, as tables in Markdown, and as JSON."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dualhmr.files import markdown_table, write_json, write_text
from dualhmr_benchmarks.claims.reports.statistics import (
    PairedDifference,
    SeedMeans,
    agrees,
    verdict,
)
from dualhmr_training.evaluation.report import MEASURES, Measure

TABLE, DATA = "table.md", "table.json"


@dataclass(frozen=True)
class MeasuredRow:
    """A row of the paper's table and of ours."""

    label: str
    measured: dict[str, SeedMeans]
    """By measure, see `dualhmr_training.evaluation.report.MEASURES`; empty with a `note`."""
    paper: dict[str, float]
    """The paper's own numbers, as far as it has them."""
    note: str = ""
    """Why there is no number: the failure of a training."""


@dataclass(frozen=True)
class ClaimReport:
    """One of the paper's tables or figures, in miniature."""

    name: str
    title: str
    says: str
    """What the paper says, in a sentence or two."""
    comparable: str
    """What of the paper's numbers and ours can be compared."""
    facts: dict[str, str]
    """Budget, seeds, people, keypoints, commit, command: all that is needed to run it again."""
    lines: tuple[MeasuredRow, ...]
    differences: tuple[PairedDifference, ...]
    trainings: tuple[dict[str, str], ...]
    """Recipe, seed, folder and commit of every training that was used."""


def write_claim_report(report: ClaimReport, folder: str | os.PathLike[str]) -> None:
    """Writes `TABLE` and `DATA` into `folder`, which it makes; each whole, or not at all.

    ValueError if a number is not finite: then it writes neither.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_json(Path(folder) / DATA, asdict(report))
    write_text(Path(folder) / TABLE, markdown(report))


def format_of(measure: str) -> Measure:
    """How to show a measure, also one that `MEASURES` does not have, such as the objective."""
    return MEASURES.get(measure, Measure(measure, 4))


def measures_of(rows: Iterable[MeasuredRow]) -> list[str]:
    """Those that any row has, in the order of `MEASURES`, others last."""
    found = dict.fromkeys(name for row in rows for name in row.measured)
    order = list(MEASURES)
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def markdown(report: ClaimReport) -> str:
    """All of it: the paper's claim, rows, differences, and how to run it again."""
    parts = [f"# {report.name}: {report.title}", f"The paper: {report.says}"]
    if report.lines:
        several = any(
            len(means.by_seed) > 1 for row in report.lines for means in row.measured.values()
        )
        seeds = " and seeds, ± standard deviation over seeds" if several else ""
        parts += [markdown_table(_row_table(report.lines)), f"Means over people{seeds}."]
    if report.differences:
        table = markdown_table(_difference_table(report.differences))
        parts += [table, _explain_differences(report.differences)]
    parts.append(report.comparable)
    parts.append("\n".join(f"- {name}: {fact}" for name, fact in report.facts.items()))
    if report.trainings:
        titles = list(dict.fromkeys(title for run in report.trainings for title in run))
        cells = ([run.get(title, "") for title in titles] for run in report.trainings)
        parts.append(markdown_table([titles, *cells]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _explain_differences(differences: Sequence[PairedDifference]) -> str:
    seeds = max(len(each.by_seed) for each in differences)
    luck = (
        "One seed cannot tell a method from the luck of its training."
        if seeds == 1
        else f"Methods that differ by the luck of training alone have {seeds} seeds on one side of "
        f"zero one time in {2 ** (seeds - 1)}."
    )
    clips = max(each.clips for each in differences)
    over = f"{clips} clips" if clips else "people"
    alike = (
        "Clips count as independent, people of one clip do not."
        if clips
        else "People count as independent, and are less so where poses come from few clips."
    )
    return (
        f"Differences are paired person by person: mean, 95% confidence interval over {over}, mean "
        "of each seed. One is shown where the interval and every seed are on the same side of "
        f"zero. {luck} {alike}"
    )


def _row_table(rows: Sequence[MeasuredRow]) -> Iterator[list[str]]:
    """The paper's column, if any row has one, is beside ours."""
    shown = measures_of(rows)
    in_paper = {name for row in rows for name in row.paper}
    noted = any(row.note for row in rows)
    titles = ["method"]
    for name in shown:
        titles += [format_of(name).title, *(["paper"] if name in in_paper else [])]
    yield titles + ["note"] * noted
    for row in rows:
        cells = [row.label]
        for name in shown:
            cells += [_ours(row, name), *([_papers(row, name)] if name in in_paper else [])]
        yield cells + [row.note] * noted


def _ours(row: MeasuredRow, name: str) -> str:
    if name not in row.measured:
        return ""
    means = row.measured[name]
    _, digits, scale = format_of(name)
    spread = "" if means.deviation is None else f" ± {scale * means.deviation:.{digits}f}"
    return f"{scale * means.mean:.{digits}f}{spread}"


def _papers(row: MeasuredRow, name: str) -> str:
    _, digits, scale = format_of(name)
    return f"{scale * row.paper[name]:.{digits}f}" if name in row.paper else ""


def _difference_table(differences: Sequence[PairedDifference]) -> Iterator[Sequence[str]]:
    yield "difference", "measure", "mean", "95%", "by seed", "verdict", "paper", "agrees"
    for each in differences:
        title, digits, scale = format_of(each.measure)
        shown = each.scaled(scale)
        # Paired differences are more exact than errors, and get one digit more.
        mean, low, high, *by_seed = (
            f"{value:+.{digits + 1}f}"
            for value in (shown.mean, shown.low, shown.high, *shown.by_seed)
        )
        paper = "" if shown.paper is None else f"{shown.paper:+.{digits}f}"
        seeds = ", ".join(by_seed)
        row = (each.label, title, mean, f"[{low}, {high}]", seeds, verdict(each))
        yield *row, paper, agrees(each)
