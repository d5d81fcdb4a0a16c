"""A plot of the same methods at several levels, of noise for example: a colour for each level."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dualhmr_benchmarks.claims.reports.report import ClaimReport, format_of
from dualhmr_benchmarks.claims.reports.row_plots import row_panels, set_title
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURE = "pa_mpjpe_mm"
_SPREAD = 0.22
"""Between the levels of a row, in rows."""


def write_levels_plot(
    report: ClaimReport, levels: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Plots PA-MPJPE: errors on the left, differences with their intervals on the right.

    Labels of lines and differences end with ", LEVEL"; those that are else alike share a row.
    Raises as `check_plot`, and OSError.
    """
    check_plot(path)
    differences = [each for each in report.differences if each.measure == _MEASURE]
    methods = _without_levels([line.label for line in report.lines], levels)
    compared = _without_levels([each.label for each in differences], levels)
    figure = new_figure()
    left, right = row_panels(figure, [methods, compared])
    right.axvline(0, color="black", linewidth=0.8)
    for number, level in enumerate(levels):
        aside = (number - (len(levels) - 1) / 2) * _SPREAD
        colour = COLOURS[number % len(COLOURS)]
        for line in report.lines:
            if line.label.endswith(f", {level}") and _MEASURE in line.measured:
                row = aside + methods.index(_without_level(line.label, level))
                seeds = line.measured[_MEASURE]
                left.plot(seeds.by_seed, [row] * len(seeds.by_seed), "o", color=colour, ms=3)
                left.plot(seeds.mean, row, "|", color=colour, ms=9, markeredgewidth=2)
        for each in differences:
            if each.label.endswith(f", {level}"):
                row = aside + compared.index(_without_level(each.label, level))
                right.plot([each.low, each.high], [row, row], "-", color=colour)
                right.plot(each.mean, row, "D", color=colour, ms=4)
                right.plot(each.by_seed, [row] * len(each.by_seed), "|", color=colour, ms=5)
        left.plot([], [], "o", color=colour, label=level)
    _set_words(left, right)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(levels))
    set_title(figure, f"{report.name}: {report.title}")
    save_figure(figure, path)


def _without_levels(labels: Sequence[str], levels: Sequence[str]) -> list[str]:
    """Labels without their level, each once."""
    plain = (_without_level(label, level) for label in labels for level in levels)
    return list(dict.fromkeys(each for each in plain if not each.endswith(tuple(levels))))


def _without_level(label: str, level: str) -> str:
    return label.replace(f", {level}", "")


def _set_words(left: "Axes", right: "Axes") -> None:
    title = format_of(_MEASURE).title
    left.set_xlabel(title)
    left.set_title("bar: mean over seeds; dots: seeds", fontsize=9)
    right.set_xlabel(f"difference in {title}")
    right.set_title("mean, 95% interval; bars: seeds", fontsize=9)
