"""Error against the step of adaptation: the paper's Figure 3. Needs matplotlib."""

import os
from typing import TYPE_CHECKING, NamedTuple

from dualhmr_training.evaluation.report import MEASURES, Evaluation, EvaluationReport
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = ("mpjpe_mm", "pa_mpjpe_mm")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", ":", "-.")


def write_evaluation_plot(report: EvaluationReport, path: str | os.PathLike[str]) -> None:
    """Plots mean MPJPE and PA-MPJPE after every step, a line for each schedule.

    The colour is the schedule's, the dashes are the keypoints'; the band is one standard error of
    the change since step 0. Raises as `check_plot`, and OSError.
    """
    check_plot(path)
    figure = new_figure()
    for panel, name in zip(new_panels(figure, len(_PANELS)), _PANELS, strict=True):
        for line in _lines(report):
            _draw(panel, line, name)
        panel.set_title(MEASURES[name].title)
        panel.set_xlabel("test-time step")
    sources = len({evaluation.keypoints for evaluation in report.evaluations})
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = sources if sources > 1 else min(len(labels), 4)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    save_figure(figure, path)


def _title(report: EvaluationReport) -> str:
    first = report.evaluations[0]
    people = "1 person" if first.people == 1 else f"{first.people} people"
    sources = {evaluation.keypoints for evaluation in report.evaluations}
    keypoints = f", {first.keypoints}" if len(sources) == 1 else ""
    line = f"{report.bundle}: returned iterate, mean over {people} ({report.data}{keypoints})"
    return line if first.people == 1 else f"{line}, ± standard error of the change"


class _Line(NamedTuple):
    label: str
    colour: int
    dash: str
    evaluation: Evaluation


def _lines(report: EvaluationReport) -> list[_Line]:
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
    colour = COLOURS[line.colour % len(COLOURS)]
    marker = _MARKERS[line.colour % len(_MARKERS)]
    panel.plot(
        steps, curve.mean, line.dash, color=colour, marker=marker, markersize=4, label=line.label
    )
    if curve.change_standard_error is not None:
        band = list(zip(curve.mean, curve.change_standard_error, strict=True))
        low, high = [mean - error for mean, error in band], [mean + error for mean, error in band]
        panel.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
