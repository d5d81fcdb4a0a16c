"""Results of the latency benchmark, as data, for people and as a file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dualhmr_benchmarks.latency.methods import PAPER


@dataclass(frozen=True)
class Measured:
    """One way to take steps, on one pair of networks."""

    networks: str
    way: str
    ms_by_steps: dict[int, float]
    """Medians of whole adaptations of one person, by their number of steps."""
    least_bytes: int
    """Moved by a step, see `least_bytes`."""
    peak_mb: float | None
    """Memory that adapting adds."""

    @property
    def ms_per_iteration(self) -> float:
        """What a further step costs."""
        few, many = min(self.ms_by_steps), max(self.ms_by_steps)
        return (self.ms_by_steps[many] - self.ms_by_steps[few]) / (many - few)


@dataclass(frozen=True)
class EndToEnd:
    """`recover` on the example photograph, milliseconds."""

    networks: str
    engine: str
    steps: int
    warm: dict[str, float]
    """Medians by stage."""


@dataclass(frozen=True)
class LatencyReport:
    """Everything that was measured in one run."""

    machine: str
    versions: str
    threads: int
    rounds: int
    bytes_per_second: float
    """Of a large copy."""
    measured: tuple[Measured, ...]
    end_to_end: tuple[EndToEnd, ...]
    cold_start: dict[str, float]
    """Milliseconds of a fresh process with the default networks, by stage."""

    def ratio(self, each: Measured) -> float:
        """How many times as fast as the paper's formulation on the same networks."""
        (paper,) = (
            one for one in self.measured if (one.networks, one.way) == (each.networks, PAPER)
        )
        return paper.ms_per_iteration / each.ms_per_iteration

    def roofline_share(self, each: Measured) -> float:
        """The time that moving the least bytes takes, over the time taken."""
        return 1000 * each.least_bytes / self.bytes_per_second / each.ms_per_iteration


def tables(report: LatencyReport) -> str:
    """In Markdown."""
    lines = [
        f"{report.machine}; {report.versions}; {report.threads} thread(s); medians of "
        f"{report.rounds} interleaved rounds; a large copy moves "
        f"{report.bytes_per_second / 1e9:.1f} GB/s",
        "",
        "| networks | way | ms an iteration | paper's / this | least MB moved | of the roofline "
        "| memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.networks} | {each.way} | {each.ms_per_iteration:.2f} | {report.ratio(each):.1f} "
        f"| {each.least_bytes / 1e6:.1f} | {report.roofline_share(each):.0%} "
        f"| {'' if each.peak_mb is None else f'{each.peak_mb:.0f}'} |"
        for each in report.measured
    ]
    lines += ["", "| networks | way | ms in all after steps |", "| --- | --- | --- |"]
    lines += [
        f"| {each.networks} | {each.way} | "
        + ", ".join(f"{steps}: {ms:.1f}" for steps, ms in sorted(each.ms_by_steps.items()))
        + " |"
        for each in report.measured
    ]
    lines += ["", "| `recover`, warm | steps | ms by stage |", "| --- | --- | --- |"]
    lines += [
        f"| {each.networks} ({each.engine}) | {each.steps} | {_stages(each.warm)} |"
        for each in report.end_to_end
    ]
    lines += ["", f"Cold start of the default networks, ms: {_stages(report.cold_start)}"]
    return "\n".join(lines)


def _stages(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {ms:.1f}" for stage, ms in milliseconds.items())


def write_json(report: LatencyReport, path: Path) -> None:
    """All of it, with ratios."""
    plain = asdict(report)
    for each, row in zip(report.measured, plain["measured"], strict=True):
        row["ms_per_iteration"] = each.ms_per_iteration
        row["ratio_to_paper"] = report.ratio(each)
        row["roofline_share"] = report.roofline_share(each)
    path.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


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
