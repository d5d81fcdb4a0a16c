"""Results of the latency benchmark: as data, as tables, as a JSON file, as a plot."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dualhmr.files import markdown_table, write_json
from dualhmr_benchmarks.latency.methods import AUTOGRAD, COMPILED, PAPER
from dualhmr_training.plotting import new_figure, save_figure


@dataclass(frozen=True)
class MethodLatency:
    """One method of taking steps, on one pair of networks."""

    networks: str
    method: str
    ms_by_steps: dict[int, float]
    """Medians of whole adaptations of one person, by their number of steps."""
    least_bytes: int
    """Moved by a step, see `memory.least_bytes`."""
    peak_mb: float | None
    """Memory that adaptation adds; None where it was not measured."""

    @property
    def ms_per_iteration(self) -> float:
        """What a further step costs: without what the first one or the last one adds."""
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
    measured: tuple[MethodLatency, ...]
    end_to_end: tuple[EndToEnd, ...]
    cold_start: dict[str, float]
    """Milliseconds of a fresh process with the default networks, by stage."""

    def ratio(self, latency: MethodLatency) -> float:
        """How many times as fast as the paper's formulation on the same networks."""
        (paper,) = (
            each
            for each in self.measured
            if (each.networks, each.method) == (latency.networks, PAPER)
        )
        return paper.ms_per_iteration / latency.ms_per_iteration

    def roofline_share(self, latency: MethodLatency) -> float:
        """The time that moving the least bytes takes, over the time taken."""
        return 1000 * latency.least_bytes / self.bytes_per_second / latency.ms_per_iteration


def latency_tables(report: LatencyReport) -> str:
    """In Markdown."""
    return "\n\n".join(
        [
            f"{report.machine}; {report.versions}; {report.threads} thread(s); medians of "
            f"{report.rounds} interleaved rounds; a large copy moves "
            f"{report.bytes_per_second / 1e9:.1f} GB/s",
            markdown_table(_per_iteration(report)),
            markdown_table(_per_step_count(report)),
            markdown_table(_per_stage(report)),
            f"Cold start of the default networks, ms: {_stages(report.cold_start)}",
        ]
    )


def _per_iteration(report: LatencyReport) -> Iterator[list[str]]:
    titles = "networks", "way", "ms an iteration", "paper's / this", "least MB moved"
    yield [*titles, "of the roofline", "memory, MB"]
    for each in report.measured:
        yield [
            each.networks,
            each.method,
            f"{each.ms_per_iteration:.2f}",
            f"{report.ratio(each):.1f}",
            f"{each.least_bytes / 1e6:.1f}",
            f"{report.roofline_share(each):.0%}",
            "" if each.peak_mb is None else f"{each.peak_mb:.0f}",
        ]


def _per_step_count(report: LatencyReport) -> Iterator[list[str]]:
    yield ["networks", "way", "ms in all after steps"]
    for each in report.measured:
        milliseconds = (f"{steps}: {ms:.1f}" for steps, ms in sorted(each.ms_by_steps.items()))
        yield [each.networks, each.method, ", ".join(milliseconds)]


def _per_stage(report: LatencyReport) -> Iterator[list[str]]:
    yield ["`recover`, warm", "steps", "ms by stage"]
    for each in report.end_to_end:
        yield [f"{each.networks} ({each.engine})", str(each.steps), _stages(each.warm)]


def _stages(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {ms:.1f}" for stage, ms in milliseconds.items())


def write_latency_json(report: LatencyReport, path: Path) -> None:
    """All of it, with ratios; the method is under the key `way`."""
    plain = asdict(report)
    plain["measured"] = [
        {"way" if name == "method" else name: value for name, value in asdict(each).items()}
        | {
            "ms_per_iteration": each.ms_per_iteration,
            "ratio_to_paper": report.ratio(each),
            "roofline_share": report.roofline_share(each),
        }
        for each in report.measured
    ]
    write_json(path, plain)


_COLOURS = {PAPER: "#b0413e", AUTOGRAD: "#e0a458", COMPILED: "#2a6f97"}
_OTHER_COLOUR = "#61a5c2"


def write_latency_plot(report: LatencyReport, path: Path) -> None:
    """A bar for each method on each pair of networks; ImportError without matplotlib."""
    figure = new_figure()
    figure.set_size_inches(8, 0.5 + 0.36 * len(report.measured))
    names = list(dict.fromkeys(each.networks for each in report.measured))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        rows = [each for each in report.measured if each.networks == name][::-1]
        for number, each in enumerate(rows):
            milliseconds = each.ms_per_iteration
            colour = _COLOURS.get(each.method, _OTHER_COLOUR)
            panel.barh(each.method, milliseconds, color=colour)
            label = f" {milliseconds:,.0f} ms" if milliseconds > 100 else f" {milliseconds:.3g} ms"
            if each.method != PAPER:
                label += f", {report.ratio(each):.0f}x"
            panel.text(milliseconds, number, label, va="center", fontsize=9)
        panel.set_xscale("log")
        panel.set_title(name, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.25)
    panels[-1].set_xlabel("milliseconds per test-time iteration, one person")
    save_figure(figure, path)
