"""Error against the step of adaptation: the paper's Figure 3. Needs matplotlib."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dualhmr.files import atomic_path
from dualhmr_training.evaluation.results import MEASURES, Evaluation, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".png", ".pdf", ".svg")
_PANELS = ("mpjpe_mm", "pa_mpjpe_mm")
# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", ":", "-.")


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raises what `write_plot` would, for reasons that are known before there is anything to plot.

    ValueError for an unknown suffix, ImportError where matplotlib is not installed.
    """
    if Path(path).suffix not in PLOT_SUFFIXES:
        raise ValueError(f"cannot plot to {path}: its suffix must be {', '.join(PLOT_SUFFIXES)}")
    _new_figure()


def write_plot(report: Report, path: str | os.PathLike[str]) -> None:
    """Plots mean MPJPE and PA-MPJPE after every step, a line for each schedule.

    The colour is the schedule's, the dashes are the keypoints'; the band is one standard error of
    the change since step 0. Raises as `check_plot`, and OSError.
    """
    check_plot(path)
    figure = _new_figure()
    for panel, name in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for line in _lines(report):
            _draw(panel, line, name)
        panel.set_title(MEASURES[name].title)
        panel.set_xlabel("test-time step")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(visible=True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    sources = len({evaluation.keypoints for evaluation in report.evaluations})
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = sources if sources > 1 else min(len(labels), 4)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _new_figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the plot needs matplotlib: pip install "dualhmr[plot]"') from error
    return Figure(figsize=(9, 4.2), dpi=150, layout="constrained")


def _title(report: Report) -> str:
    first = report.evaluations[0]
    people = "1 person" if first.people == 1 else f"{first.people} people"
    sources = {evaluation.keypoints for evaluation in report.evaluations}
    keypoints = f", {first.keypoints}" if len(sources) == 1 else ""
    line = f"{report.bundle}: best iterate so far, mean over {people} ({report.data}{keypoints})"
    return line if first.people == 1 else f"{line}, ± standard error of the change"


class _Line(NamedTuple):
    label: str
    colour: int
    dash: str
    evaluation: Evaluation


def _lines(report: Report) -> list[_Line]:
    """What is plotted, and how; labels say only what differs."""
    schedules = list(dict.fromkeys((e.schedule, e.adam_rate) for e in report.evaluations))
    sources = list(dict.fromkeys(e.keypoints for e in report.evaluations))
    several_rates = len({rate for _, rate in schedules}) > 1
    lines = []
    for evaluation in report.evaluations:
        label = evaluation.schedule
        if several_rates:
            label += f" {evaluation.adam_rate:g}"
        if len(sources) > 1:
            label += f", {evaluation.keypoints}"
        colour = schedules.index((evaluation.schedule, evaluation.adam_rate))
        dash = _DASHES[sources.index(evaluation.keypoints) % len(_DASHES)]
        lines.append(_Line(label, colour, dash, evaluation))
    return lines


def _draw(panel: "Axes", line: _Line, measure: str) -> None:
    curve = line.evaluation.measures[measure]
    steps = range(line.evaluation.max_steps + 1)
    colour = _COLOURS[line.colour % len(_COLOURS)]
    marker = _MARKERS[line.colour % len(_MARKERS)]
    panel.plot(
        steps, curve.mean, line.dash, color=colour, marker=marker, markersize=4, label=line.label
    )
    if curve.change_standard_error is not None:
        band = list(zip(curve.mean, curve.change_standard_error, strict=True))
        low, high = [mean - error for mean, error in band], [mean + error for mean, error in band]
        panel.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
