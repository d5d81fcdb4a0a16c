"""Milliseconds an iteration, way by way, on a logarithmic scale."""

from pathlib import Path

from dualhmr_benchmarks.report import LatencyReport

_COLOURS = {"paper": "#b0413e", "autograd, head": "#e0a458", "structured": "#2a6f97"}
_OTHER = "#61a5c2"


def write_plot(report: LatencyReport, path: Path) -> None:
    """A bar for each way on each pair of networks; ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "dualhmr[plot]"') from error
    names = list(dict.fromkeys(each.networks for each in report.measured))
    figure = Figure(figsize=(8, 0.5 + 0.36 * len(report.measured)), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        rows = [each for each in report.measured if each.networks == name][::-1]
        times = [each.ms_per_iteration for each in rows]
        colours = [_COLOURS.get(each.way, _OTHER) for each in rows]
        panel.barh([each.way for each in rows], times, color=colours)
        for number, each in enumerate(rows):
            milliseconds = each.ms_per_iteration
            label = f" {milliseconds:,.0f} ms" if milliseconds > 100 else f" {milliseconds:.3g} ms"
            if each.way != "paper":
                label += f", {report.ratio(each):.0f}x"
            panel.text(each.ms_per_iteration, number, label, va="center", fontsize=9)
        panel.set_xscale("log")
        panel.set_title(name, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.25)
    panels[-1].set_xlabel("milliseconds per test-time iteration, one person")
    figure.savefig(path, dpi=150)
