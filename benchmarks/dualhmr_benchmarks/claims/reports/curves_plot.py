"""Errors against the test-time step, method by method."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dualhmr_benchmarks.claims.experiments.outcomes import Outcome
from dualhmr_benchmarks.claims.reports.report import Array, Interval, over_people, paired, spread
from dualhmr_benchmarks.claims.reports.report_plot import row_panels, set_title
from dualhmr_benchmarks.claims.reports.report_text import how_shown
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OBJECTIVE = "objective"
_WIDTH, _HEIGHT, _LEGEND_ROW = 3.8, 3.8, 0.22
"""Inches: of a panel, of all but the legend, and of one of its rows."""
_DASHES = ("-", "--", ":", "-.")


def write_curves(
    curves: Mapping[str, Sequence[Outcome]],
    path: str | os.PathLike[str],
    *,
    measures: Sequence[str] = ("mpjpe_mm", "pa_mpjpe_mm", OBJECTIVE),
) -> None:
    """Plots a panel for each measure: for each method the mean over seeds and people.

    `curves` are outcomes of all seeds of each method by its label, after 0, 1, ..., T steps; a
    method without any is named as unstable. The band is one standard deviation over seeds. Methods
    watch losses of their own, so that each objective is divided by its value at step 0.

    Raises as `check_plot` and `spread`; ValueError too where a method's outcomes are not after
    every step; OSError.
    """
    check_plot(path)
    for label, outcomes in curves.items():
        _check_steps(label, outcomes)
    figure = new_figure()
    for panel, measure in zip(new_panels(figure, len(measures)), measures, strict=True):
        for number, (label, outcomes) in enumerate(curves.items()):
            _draw(panel, number, label, outcomes, measure)
        panel.set_title(_title(measure), fontsize=10)
        panel.set_xlabel("test-time step")
    _add_legend(figure, _WIDTH * max(len(measures), 2))
    figure.suptitle("mean over people and seeds, ± standard deviation over seeds", fontsize=10)
    save_figure(figure, path)


def _add_legend(figure: "Figure", width: float) -> None:
    """Below the panels, in as many columns as fit; makes the figure as high as it takes."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    columns = max(1, min(3, len(labels), int(width / (0.7 + 0.085 * longest))))
    rows = -(-len(labels) // columns)
    figure.set_size_inches(width, _HEIGHT + _LEGEND_ROW * rows)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _check_steps(label: str, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.after.tolist() != list(range(len(outcomes[0].after))):
            after = ", ".join(f"{steps:g}" for steps in outcome.after)
            raise ValueError(
                f"{label} has errors after {after} steps, expected 0, 1, ... of every seed"
            )


def _title(measure: str) -> str:
    return "loss, relative to step 0" if measure == OBJECTIVE else how_shown(measure).title


def _draw(
    panel: "Axes", number: int, label: str, outcomes: Sequence[Outcome], measure: str
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    if not outcomes:
        panel.plot([], [], dash, color=colour, label=f"{label} (unstable)")
        return
    by_seed = _by_seed(outcomes, measure)
    steps, mean = outcomes[0].after, by_seed.mean(0)
    panel.plot(steps, mean, dash, color=colour, marker="o", markersize=3, label=label)
    if len(by_seed) > 1:
        deviation = by_seed.std(0, ddof=1)
        low, high = mean - deviation, mean + deviation
        panel.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _by_seed(outcomes: Sequence[Outcome], measure: str) -> npt.NDArray[np.float64]:
    """(seeds, T + 1) means over people, as they are plotted."""
    steps = range(len(outcomes[0].after))
    means = np.array([spread(outcomes, measure, step).by_seed for step in steps]).T
    if measure == OBJECTIVE:
        return means / means[:, :1]
    return means * how_shown(measure).scale


if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORSE, _BETTER = COLOURS[1], COLOURS[2]


def write_joints(
    of: Sequence[Outcome],
    against: Sequence[Outcome],
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> None:
    """Plots the mean difference of every joint's error, `of` minus `against`, after all steps.

    Outcomes are of the same people with the same seeds in the same order, `names` those of the J
    joints. A panel with roots at the origin and one after Procrustes' alignment, which joints are
    sorted by; whiskers are 95% confidence intervals over people, bars whose interval has zero in
    it are pale. Raises as `check_plot`, `paired` and `over_people`; ValueError where there are not
    J names; OSError.
    """
    check_plot(path)
    plain = _changes([each.joints_mm for each in of], [each.joints_mm for each in against])
    aligned = _changes(
        [each.aligned_joints_mm for each in of], [each.aligned_joints_mm for each in against]
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


def _changes(of: Sequence[Array], against: Sequence[Array]) -> Interval:
    """(J,) of errors (N, S, J), each person's difference averaged over seeds."""
    after_all = paired([errors[:, -1] for errors in of], [errors[:, -1] for errors in against])
    return over_people(after_all.mean(0))


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
