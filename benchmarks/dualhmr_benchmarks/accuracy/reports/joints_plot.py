"""Which joints one method gets better or worse than another."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualhmr_benchmarks.accuracy.experiments.outcomes import Outcome
from dualhmr_benchmarks.accuracy.reports.report_plot import row_panels, set_title
from dualhmr_benchmarks.accuracy.reports.statistics import Array, Interval, over_people, paired
from dualhmr_training.figures import COLOURS, check_plot, new_figure, save_figure

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
    _draw(left, Interval(*(each[order] for each in plain)), "roots at the origin")
    _draw(right, Interval(*(each[order] for each in aligned)), "after Procrustes' alignment")
    set_title(figure, title)
    save_figure(figure, path)


def _changes(of: Sequence[Array], against: Sequence[Array]) -> Interval:
    """(J,) of errors (N, S, J), each person's difference averaged over seeds."""
    after_all = paired([errors[:, -1] for errors in of], [errors[:, -1] for errors in against])
    return over_people(after_all.mean(0))


def _draw(panel: "Axes", change: Interval, title: str) -> None:
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
