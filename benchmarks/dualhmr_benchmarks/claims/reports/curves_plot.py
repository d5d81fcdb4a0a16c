"""A plot of errors against the test-time step, a curve for each method."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualhmr_benchmarks.claims.experiments.evaluations import Array, SeedErrors
from dualhmr_benchmarks.claims.reports.report import format_of
from dualhmr_benchmarks.claims.reports.statistics import seed_means
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OBJECTIVE = "objective"
_MEASURES = ("mpjpe_mm", "pa_mpjpe_mm", _OBJECTIVE)
_WIDTH, _HEIGHT, _LEGEND_ROW = 3.8, 3.8, 0.22
"""Inches: of a panel, of all but the legend, and of one of its rows."""
_DASHES = ("-", "--", ":", "-.")


def write_curves(curves: Mapping[str, Sequence[SeedErrors]], path: str | os.PathLike[str]) -> None:
    """Plots a panel for each measure: for each method the mean over seeds and people.

    `curves` are the errors of all seeds of each method by its label, after 0, 1, ..., T steps; a
    method without any is labelled unstable. The band is one standard deviation over seeds. Methods
    minimise different losses, so each objective is divided by its value at step 0.

    Raises as `check_plot` and `seed_means`; ValueError if a method does not have errors after
    every step; OSError.
    """
    check_plot(path)
    for label, seeds in curves.items():
        _check_steps(label, seeds)
    figure = new_figure()
    for panel, measure in zip(new_panels(figure, len(_MEASURES)), _MEASURES, strict=True):
        for number, (label, seeds) in enumerate(curves.items()):
            _draw(panel, number, label, seeds, measure)
        of_loss = measure == _OBJECTIVE
        title = "loss, relative to step 0" if of_loss else format_of(measure).title
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("test-time step")
    _add_legend(figure, _WIDTH * len(_MEASURES))
    figure.suptitle("mean over people and seeds, ± standard deviation over seeds", fontsize=10)
    save_figure(figure, path)


def _add_legend(figure: "Figure", width: float) -> None:
    """Puts it below the panels, in as many columns as fit, and sets the figure's height."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    # In inches: a line of a curve with its padding, and a letter of 9 pt.
    columns = max(1, min(3, len(labels), int(width / (0.7 + 0.085 * longest))))
    rows = -(-len(labels) // columns)
    figure.set_size_inches(width, _HEIGHT + _LEGEND_ROW * rows)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _check_steps(label: str, seeds: Sequence[SeedErrors]) -> None:
    for each in seeds:
        if each.steps.tolist() != list(range(len(seeds[0].steps))):
            after = ", ".join(f"{steps:g}" for steps in each.steps)
            raise ValueError(
                f"{label} has errors after {after} steps, expected 0, 1, ... of every seed"
            )


def _draw(
    panel: "Axes", number: int, label: str, seeds: Sequence[SeedErrors], measure: str
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    if not seeds:
        panel.plot([], [], dash, color=colour, label=f"{label} (unstable)")
        return
    by_seed = _by_seed(seeds, measure)
    steps, mean = seeds[0].steps, by_seed.mean(0)
    panel.plot(steps, mean, dash, color=colour, marker="o", markersize=3, label=label)
    if len(by_seed) > 1:
        deviation = by_seed.std(0, ddof=1)
        low, high = mean - deviation, mean + deviation
        panel.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _by_seed(seeds: Sequence[SeedErrors], measure: str) -> Array:
    """(seeds, T + 1) means over people, as they are plotted."""
    steps = range(len(seeds[0].steps))
    means = np.array([seed_means(seeds, measure, step).by_seed for step in steps]).T
    if measure == _OBJECTIVE:
        return means / means[:, :1]
    return means * format_of(measure).scale
