"""Plots with a labelled row for each method or joint: errors, and differences with intervals."""

import os
import textwrap
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from dualhmr_benchmarks.claims.experiments.evaluations import Array, SeedErrors
from dualhmr_benchmarks.claims.reports.report import (
    ClaimReport,
    MeasuredRow,
    format_of,
    measures_of,
)
from dualhmr_benchmarks.claims.reports.statistics import (
    Interval,
    PairedDifference,
    over_people,
    paired,
)
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST_CHOICE = "pa_mpjpe_mm"
_OURS, _PAPERS, _FAINT = COLOURS[0], COLOURS[1], "#888888"
_WORSE, _BETTER = COLOURS[1], COLOURS[2]
_LABEL_WIDTH = 34
_WIDTH, _TEXT_LINE, _GAP = 11.0, 0.17, 0.22
"""Inches: of a figure, of a line of a label, and between labels."""
_LETTERS_PER_INCH = 10.5
_SPREAD = 0.22
"""Between the levels of a row, in rows."""
_FAR = 3
"""The paper's differences are drawn to scale up to so many times our largest one."""


def write_report_plot(report: ClaimReport, path: str | os.PathLike[str]) -> None:
    """Plots one measure, PA-MPJPE if measured: errors on the left, differences on the right.

    If no difference is in that measure, all differences are plotted. Raises as `check_plot`, and
    OSError.
    """
    check_plot(path)
    measures = measures_of(report.lines)
    measure = _FIRST_CHOICE if _FIRST_CHOICE in measures else next(iter(measures), None)
    differences = [each for each in report.differences if each.measure == measure]
    differences = differences or list(report.differences)
    labels = [[line.label for line in report.lines]]
    if differences:
        labels.append(
            [
                each.label
                if each.measure == measure
                else f"{each.label} ({format_of(each.measure).title})"
                for each in differences
            ]
        )
    figure = new_figure()
    left, *right = row_panels(figure, labels)
    _draw_lines(left, report.lines, measure)
    for panel in right:
        _draw_differences(panel, differences, measure)
    set_title(figure, f"{report.name}: {report.title}")
    save_figure(figure, path)


def set_title(figure: "Figure", title: str) -> None:
    """Writes a title above all panels, in as many lines as it needs."""
    width = int(_LETTERS_PER_INCH * figure.get_figwidth())
    figure.suptitle(textwrap.fill(title, width, break_on_hyphens=False), fontsize=11)


def row_panels(figure: "Figure", labels: Sequence[Sequence[str]]) -> "list[Axes]":
    """Panels side by side, a row for each label from top to bottom; the figure fits the rows."""
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
    # All rows have the height of the longest label.
    most_lines = max((1 + label.count("\n") for label in labels), default=1)
    return len(labels) * (_GAP + _TEXT_LINE * most_lines)


def _draw_lines(panel: "Axes", lines: Sequence[MeasuredRow], measure: str | None) -> None:
    """A dot for each seed, a bar at their mean."""
    scale = 1.0 if measure is None else format_of(measure).scale
    for row, line in enumerate(lines):
        if measure not in line.measured:
            text = "unstable" if line.note else "no number"
            across = panel.get_yaxis_transform()
            panel.text(0.02, row, text, transform=across, color=_FAINT, va="center", fontsize=9)
            continue
        seeds = line.measured[measure]
        errors = [scale * error for error in seeds.by_seed]
        panel.plot(errors, [row] * len(errors), "o", color=_OURS, alpha=0.5, markersize=5)
        mean = scale * seeds.mean
        panel.plot(mean, row, "|", color=_OURS, markersize=18, markeredgewidth=2.5)
    if measure is None:
        panel.set_xticks([])
        return
    panel.margins(x=0.08)
    panel.set_xlabel(format_of(measure).title)
    panel.set_title("bar: mean over seeds; dots: seeds", fontsize=9)


def _draw_differences(
    panel: "Axes", differences: Sequence[PairedDifference], measure: str | None
) -> None:
    """Means with intervals, dots for seeds, and the paper's differences."""
    shown = [each.scaled(format_of(each.measure).scale) for each in differences]
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
    of_measure = f" in {format_of(measure).title}" if measure == differences[0].measure else ""
    panel.set_xlabel(f"difference{of_measure}")
    papers = "; hollow: the paper" if near else ""
    panel.set_title(f"mean, 95% interval; dots: seeds{papers}", fontsize=9)


def _draw_papers(panel: "Axes", row: float, paper: float, edge: float) -> None:
    """A hollow marker, or an arrow with the number if it is beyond the edge."""
    side = 1 if paper > 0 else -1
    beyond = abs(paper) > edge
    marker = "D" if not beyond else ">" if side > 0 else "<"
    at = side * edge if beyond else paper
    panel.plot(at, row, marker, color=_PAPERS, markerfacecolor="none", markersize=6)
    if beyond:
        number, align = f"   {paper:+.3g}   ", "right" if side > 0 else "left"
        panel.text(at, row, number, color=_PAPERS, ha=align, va="center", fontsize=8)


def write_joints(
    of: Sequence[SeedErrors],
    against: Sequence[SeedErrors],
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> None:
    """Plots the mean difference of every joint's error, `of` minus `against`, after all steps.

    Errors are of the same people with the same seeds in the same order; `names` are those of the J
    joints. One panel has roots at the origin, one is after Procrustes' alignment, by which joints
    are sorted. Whiskers are 95% confidence intervals, see `over_people`; bars whose interval
    contains zero are pale. Raises as `check_plot`, `paired` and `over_people`; ValueError if there
    are not J names; OSError.
    """
    check_plot(path)
    plain, aligned = (
        _changes([errors(each) for each in of], [errors(each) for each in against], of[0].clips)
        for errors in (attrgetter("joints_mm"), attrgetter("aligned_joints_mm"))
    )
    if len(names) != len(aligned.mean):
        raise ValueError(f"{len(names)} names of {len(aligned.mean)} joints")
    order = np.argsort(aligned.mean, kind="stable")
    labels = [names[joint].replace("_", " ") for joint in order]
    figure = new_figure()
    left, right = row_panels(figure, [labels, labels])
    _draw_joints(left, Interval(*(each[order] for each in plain)), "roots at the origin")
    _draw_joints(right, Interval(*(each[order] for each in aligned)), "after Procrustes' alignment")
    set_title(figure, title)
    save_figure(figure, path)


def _changes(of: Sequence[Array], against: Sequence[Array], clips: Sequence[str]) -> Interval:
    """(J,) of errors (N, S, J), each person's difference averaged over seeds."""
    after_all = paired([errors[:, -1] for errors in of], [errors[:, -1] for errors in against])
    return over_people(after_all.mean(0), clips)


def _draw_joints(panel: "Axes", change: Interval, title: str) -> None:
    for row, (mean, low, high) in enumerate(zip(*change, strict=True)):
        shown = low > 0 or high < 0
        colour = _WORSE if mean > 0 else _BETTER
        panel.barh(row, mean, color=colour, alpha=1.0 if shown else 0.35)
        panel.plot([low, high], [row, row], color="black", linewidth=1)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_title(title, fontsize=10)
    panel.use_sticky_edges = False
    panel.margins(x=0.06)
    panel.set_xlabel("difference in error, mm (pale: the interval has zero in it)", fontsize=9)


def write_levels_plot(
    report: ClaimReport, levels: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Plots PA-MPJPE: errors on the left, differences with their intervals on the right.

    Labels of lines and differences end with ", LEVEL"; those that are else alike share a row.
    Raises as `check_plot`, and OSError.
    """
    check_plot(path)
    differences = [each for each in report.differences if each.measure == _FIRST_CHOICE]
    methods = _without_levels([line.label for line in report.lines], levels)
    compared = _without_levels([each.label for each in differences], levels)
    figure = new_figure()
    left, right = row_panels(figure, [methods, compared])
    right.axvline(0, color="black", linewidth=0.8)
    for number, level in enumerate(levels):
        aside = (number - (len(levels) - 1) / 2) * _SPREAD
        colour = COLOURS[number % len(COLOURS)]
        for line in report.lines:
            if line.label.endswith(f", {level}") and _FIRST_CHOICE in line.measured:
                row = aside + methods.index(_without_level(line.label, level))
                seeds = line.measured[_FIRST_CHOICE]
                left.plot(seeds.by_seed, [row] * len(seeds.by_seed), "o", color=colour, ms=3)
                left.plot(seeds.mean, row, "|", color=colour, ms=9, markeredgewidth=2)
        for each in differences:
            if each.label.endswith(f", {level}"):
                row = aside + compared.index(_without_level(each.label, level))
                right.plot([each.low, each.high], [row, row], "-", color=colour)
                right.plot(each.mean, row, "D", color=colour, ms=4)
                right.plot(each.by_seed, [row] * len(each.by_seed), "|", color=colour, ms=5)
        left.plot([], [], "o", color=colour, label=level)
    _set_words_of_levels(left, right)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(levels))
    set_title(figure, f"{report.name}: {report.title}")
    save_figure(figure, path)


def _without_levels(labels: Sequence[str], levels: Sequence[str]) -> list[str]:
    """Labels without their level, each once."""
    plain = (_without_level(label, level) for label in labels for level in levels)
    return list(dict.fromkeys(each for each in plain if not each.endswith(tuple(levels))))


def _without_level(label: str, level: str) -> str:
    return label.replace(f", {level}", "")


def _set_words_of_levels(left: "Axes", right: "Axes") -> None:
    title = format_of(_FIRST_CHOICE).title
    left.set_xlabel(title)
    left.set_title("bar: mean over seeds; dots: seeds", fontsize=9)
    right.set_xlabel(f"difference in {title}")
    right.set_title("mean, 95% interval; bars: seeds", fontsize=9)
