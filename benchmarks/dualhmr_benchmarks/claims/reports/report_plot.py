"""A reproduction as a picture: everybody's error, and differences with their intervals."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dualhmr_benchmarks.claims.reports.report import Difference, Line, Report, mean_and_deviation
from dualhmr_benchmarks.claims.reports.report_text import how_shown, measures_of
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST_CHOICE = "pa_mpjpe_mm"
_OURS, _PAPERS, _FAINT = COLOURS[0], COLOURS[1], "#888888"
_LABEL_WIDTH = 34
_WIDTH, _TEXT_LINE, _GAP = 11.0, 0.17, 0.22
"""Inches: of a figure, of a line of a label, and between labels."""
_LETTERS_PER_INCH = 10.5
_FAR = 3
"""How many times as far as the farthest of ours the paper's difference may be and be to scale."""


def write_report_plot(report: Report, path: str | os.PathLike[str]) -> None:
    """Plots one measure, PA-MPJPE where there is one: lines on the left, differences on the right.

    Without any difference in that measure those in others are there. Raises as `check_plot`, and
    OSError.
    """
    check_plot(path)
    measures = measures_of(report.lines)
    measure = _FIRST_CHOICE if _FIRST_CHOICE in measures else next(iter(measures), None)
    differences = [each for each in report.differences if each.measure == measure]
    differences = differences or list(report.differences)
    labels = [[line.label for line in report.lines]]
    if differences:
        labels.append([_label(each, measure) for each in differences])
    figure = new_figure()
    left, *right = row_panels(figure, labels)
    _draw_lines(left, report.lines, measure)
    for panel in right:
        _draw_differences(panel, differences, measure)
    set_title(figure, f"{report.name}: {report.title}")
    save_figure(figure, path)


def set_title(figure: "Figure", title: str) -> None:
    """A title above all panels, in as many lines as it takes."""
    width = int(_LETTERS_PER_INCH * figure.get_figwidth())
    figure.suptitle(textwrap.fill(title, width, break_on_hyphens=False), fontsize=11)


def row_panels(figure: "Figure", labels: Sequence[Sequence[str]]) -> "list[Axes]":
    """Panels side by side, each with its labels as rows from top to bottom, high enough for all."""
    from matplotlib.ticker import AutoLocator

    wrapped = [[textwrap.fill(label, _LABEL_WIDTH) for label in column] for column in labels]
    panels = new_panels(figure, len(labels))
    height = 1.7 + max(map(_height, wrapped))
    figure.set_size_inches(_WIDTH if len(labels) > 1 else 0.7 * _WIDTH, height)
    for panel, column in zip(panels, wrapped, strict=True):
        panel.set_yticks(range(len(column)), column, fontsize=9)
        panel.set_ylim(max(len(column), 1) - 0.4, -0.6)
        panel.xaxis.set_major_locator(AutoLocator())
        panel.grid(visible=False, axis="y")
        panel.set_axisbelow(True)
    return panels


def _height(labels: Sequence[str]) -> float:
    # Rows are equally high, so that the longest label counts for all of them.
    most_lines = max((1 + label.count("\n") for label in labels), default=1)
    return len(labels) * (_GAP + _TEXT_LINE * most_lines)


def _label(each: Difference, measure: str | None) -> str:
    return each.label if each.measure == measure else f"{each.label} ({_title(each.measure)})"


def _title(measure: str) -> str:
    return how_shown(measure).title


def _draw_lines(panel: "Axes", lines: Sequence[Line], measure: str | None) -> None:
    """A dot for each seed, a bar at their mean."""
    scale = 1.0 if measure is None else how_shown(measure).scale
    for row, line in enumerate(lines):
        if measure not in line.measured:
            text = "unstable" if line.note else "no number"
            across = panel.get_yaxis_transform()
            panel.text(0.02, row, text, transform=across, color=_FAINT, va="center", fontsize=9)
            continue
        seeds = line.measured[measure]
        errors = [scale * error for error in seeds.by_seed]
        panel.plot(errors, [row] * len(errors), "o", color=_OURS, alpha=0.5, markersize=5)
        mean = scale * mean_and_deviation(seeds)[0]
        panel.plot(mean, row, "|", color=_OURS, markersize=18, markeredgewidth=2.5)
    if measure is None:
        panel.set_xticks([])
        return
    panel.margins(x=0.08)
    panel.set_xlabel(_title(measure))
    panel.set_title("bar: mean over seeds; dots: seeds", fontsize=9)


def _draw_differences(
    panel: "Axes", differences: Sequence[Difference], measure: str | None
) -> None:
    """Means with intervals, dots for seeds, and the paper's difference as far as there is room."""
    shown = [_as_shown(each) for each in differences]
    farthest = max(abs(end) for each in shown for end in (each.low, each.high, *each.by_seed))
    near = [abs(each.paper) for each in shown if each.paper is not None]
    edge = max([farthest, *(size for size in near if size <= _FAR * farthest)])
    panel.axvline(0, color="black", linewidth=0.8)
    for row, each in enumerate(shown):
        panel.plot([each.low, each.high], [row, row], "|-", color=_OURS, markersize=9)
        panel.plot(each.mean, row, "D", color=_OURS, markersize=4)
        below = [row + 0.22] * len(each.by_seed)
        panel.plot(each.by_seed, below, "o", color=_OURS, alpha=0.5, markersize=3)
        if each.paper is not None:
            _draw_papers(panel, row - 0.22, each.paper, edge)
    panel.margins(x=0.1)
    of_measure = f" in {_title(measure)}" if measure == differences[0].measure else ""
    panel.set_xlabel(f"difference{of_measure}")
    papers = "; hollow: the paper" if near else ""
    panel.set_title(f"mean, 95% interval; dots: seeds{papers}", fontsize=9)


def _as_shown(each: Difference) -> Difference:
    scale = how_shown(each.measure).scale
    mean, low, high, *by_seed = (
        scale * value for value in (each.mean, each.low, each.high, *each.by_seed)
    )
    paper = None if each.paper is None else scale * each.paper
    return replace(each, mean=mean, low=low, high=high, by_seed=tuple(by_seed), paper=paper)


def _draw_papers(panel: "Axes", row: float, paper: float, edge: float) -> None:
    """A hollow marker, or an arrow with the number where that is beyond the edge."""
    side = 1 if paper > 0 else -1
    beyond = abs(paper) > edge
    marker = "D" if not beyond else ">" if side > 0 else "<"
    at = side * edge if beyond else paper
    panel.plot(at, row, marker, color=_PAPERS, markerfacecolor="none", markersize=6)
    if beyond:
        number, align = f"   {paper:+.3g}   ", "right" if side > 0 else "left"
        panel.text(at, row, number, color=_PAPERS, ha=align, va="center", fontsize=8)
