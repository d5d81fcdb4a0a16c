from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.accuracy_examples import REPORT, outcomes
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualhmr_benchmarks.claims.experiments.evaluations import SeedErrors
from dualhmr_benchmarks.claims.reports.curves_plot import write_curves
from dualhmr_benchmarks.claims.reports.report import ClaimReport
from dualhmr_benchmarks.claims.reports.row_plots import (
    write_joints,
    write_levels_plot,
    write_report_plot,
)

LINE, DIFFERENCE = REPORT.lines[0], REPORT.differences[0]
AT_LEVELS = replace(
    REPORT,
    lines=tuple(
        replace(LINE, label=f"{method}, noise {noise}%")
        for noise in (0, 5)
        for method in ("full", "plain, old")
    ),
    differences=tuple(
        replace(DIFFERENCE, label=f"full, noise {noise}% - plain, old, noise {noise}%", mean=noise)
        for noise in (0, 5)
    ),
)


def plot_report(path: Path) -> None:
    write_report_plot(REPORT, path)


def plot_curves(path: Path) -> None:
    write_curves({"full": outcomes(0.8), "plain": outcomes(0.9, seeds=1), "none": []}, path)


def plot_joints(path: Path) -> None:
    write_joints(outcomes(0.8), outcomes(0.9), ("left_hand", "head"), path, title="full - plain")


def plot_levels(path: Path) -> None:
    write_levels_plot(AT_LEVELS, ("noise 0%", "noise 5%"), path)


@pytest.mark.parametrize("plot", [plot_report, plot_curves, plot_joints, plot_levels])
def test_plots_are_pictures_or_nothing(tmp_path: Path, plot: Callable[[Path], None]) -> None:
    plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"its suffix must be \.png"):
        plot(tmp_path / "plot.txt")
    with pytest.raises(FileNotFoundError, match="create it first"):
        plot(tmp_path / "missing" / "plot.png")
    assert [each.name for each in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize("plot", [plot_report, plot_curves, plot_joints])
def test_a_plot_that_fails_leaves_nothing(
    tmp_path: Path, plot: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_figure: Figure, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plot(tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "report",
    [
        replace(REPORT, differences=()),
        replace(REPORT, differences=REPORT.differences[1:2]),
        replace(REPORT, differences=(replace(REPORT.differences[0], paper=-400.0),)),
        replace(REPORT, lines=REPORT.lines[2:], differences=()),
        replace(REPORT, lines=REPORT.lines[2:]),
        replace(REPORT, lines=(), differences=()),
    ],
    ids=["lines", "another measure", "far paper", "unstable", "unstable, differences", "nothing"],
)
def test_reports_that_lack_something_are_plotted(tmp_path: Path, report: ClaimReport) -> None:
    write_report_plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").is_file()


def drawn(monkeypatch: pytest.MonkeyPatch, plot: Callable[[Path], None], path: Path) -> Figure:
    """The figure that `plot` saves."""
    figures = []
    save = Figure.savefig

    def keep(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(Figure, "savefig", keep)
    plot(path)
    return figures[0]


def row_labels(panel: Axes) -> list[str]:
    return [label.get_text() for label in panel.get_yticklabels()]


def test_rows_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = drawn(monkeypatch, plot_report, tmp_path / "plot.png").axes
    assert row_labels(left) == ["full", "plain|old", "rate of 1"]
    assert [text.get_text() for text in left.texts] == ["unstable"]
    assert row_labels(right) == ["full - plain", "more steps"]
    # From the top.
    assert left.yaxis_inverted()
    assert right.yaxis_inverted()


def test_the_papers_difference_does_not_squash_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = replace(REPORT.differences[0], paper=-400.0)

    def plot(path: Path) -> None:
        write_report_plot(replace(REPORT, differences=(far,)), path)

    _, right = drawn(monkeypatch, plot, tmp_path / "plot.png").axes
    assert [text.get_text().strip() for text in right.texts] == ["-400"]
    assert -7 < right.get_xlim()[0] < -5.5


@pytest.mark.parametrize("name", ["lines", "legend"])
def test_long_labels_are_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    label = "networks trained with everything the paper has, and then adapted without any of it"
    lines = tuple(replace(REPORT.lines[0], label=label) for _ in range(6))
    differences = tuple(replace(REPORT.differences[0], label=label) for _ in range(7))
    long = replace(REPORT, title=label + " " + label, lines=lines, differences=differences)

    def plot(path: Path) -> None:
        if name == "lines":
            write_report_plot(long, path)
        else:
            write_curves({f"{label} {each}": outcomes(0.9) for each in range(4)}, path)

    figure = drawn(monkeypatch, plot, tmp_path / "plot.png")
    needed = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(needed.x0, needed.y0) >= 0
    assert needed.x1 <= width
    assert needed.y1 <= height
    for panel in figure.axes if name == "lines" else []:
        boxes = [each.get_window_extent() for each in panel.get_yticklabels()]
        assert all(above.y0 > below.y1 for above, below in pairwise(boxes))


def test_curves_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, loss = figure_panels = drawn(monkeypatch, plot_curves, tmp_path / "plot.png").axes
    assert [panel.get_title() for panel in figure_panels] == [
        "MPJPE, mm",
        "PA-MPJPE, mm",
        "loss, relative to step 0",
    ]
    full, plain, none = loss.lines
    np.testing.assert_allclose(full.get_ydata(), 0.8 ** np.arange(4))
    np.testing.assert_allclose(plain.get_ydata(), 0.9 ** np.arange(4))
    assert none.get_label() == "none (unstable)"
    # One seed has no band.
    assert [len(panel.collections) for panel in figure_panels] == [1, 1, 1]
    seeds = [each.measures["mpjpe_mm"].mean(0) for each in outcomes(0.8)]
    np.testing.assert_allclose(figure_panels[0].lines[0].get_ydata(), np.mean(seeds, axis=0))


def test_curves_need_every_step(tmp_path: Path) -> None:
    ends = [
        SeedErrors(each.steps[[0, -1]], each.measures, each.joints_mm, each.aligned_joints_mm)
        for each in outcomes(0.8)
    ]
    with pytest.raises(
        ValueError, match=r"full has errors after 0, 3 steps, expected 0, 1, \.\.\."
    ):
        write_curves({"full": ends}, tmp_path / "plot.png")
    with pytest.raises(ValueError, match="errors after 0, 1, 2, 3 steps"):
        write_curves({"full": [*outcomes(1, steps=2), *outcomes(1)]}, tmp_path / "plot.png")


def test_joints_are_sorted_by_aligned_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = outcomes(0.9)
    # Aligned, the first joint is 2 mm worse and the second 1 mm better; with roots in place both
    # are 3 mm better.
    changed = [
        each._replace(
            joints_mm=each.joints_mm - 3,
            aligned_joints_mm=each.aligned_joints_mm + np.array([2, -1]),
        )
        for each in base
    ]

    def plot(path: Path) -> None:
        write_joints(changed, base, ("left_hand", "head"), path, title="changed - base")

    left, right = drawn(monkeypatch, plot, tmp_path / "plot.png").axes
    assert row_labels(left) == row_labels(right) == ["head", "left hand"]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([-1, 2])
    assert [bar.get_width() for bar in left.patches] == pytest.approx([-3, -3])


def test_joints_need_their_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 names of 2 joints"):
        write_joints(outcomes(1), outcomes(1), ["head"], tmp_path / "plot.png", title="")


def test_levels_share_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = drawn(monkeypatch, plot_levels, tmp_path / "plot.png").axes
    methods, compared = (
        [label.get_text() for label in panel.get_yticklabels()] for panel in (left, right)
    )
    assert methods == ["full", "plain, old"]
    assert compared == ["full - plain, old"]
    means = [line for line in right.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in means] == [0, 5]
    assert len({line.get_color() for line in means}) == 2
