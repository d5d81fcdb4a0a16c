import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from dualhmr import open_bundle
from dualhmr.cli import main
from dualhmr_benchmarks.latency import measure as timing
from dualhmr_benchmarks.latency import memory
from dualhmr_benchmarks.latency.memory import bandwidth, least_bytes
from dualhmr_benchmarks.latency.methods import (
    AUTOGRAD,
    PAPER,
    STRUCTURED,
    PapersFormulation,
    check_agreement,
    methods,
)
from dualhmr_benchmarks.latency.networks import ExampleProblem, example_problem
from dualhmr_benchmarks.latency.report import (
    EndToEnd,
    LatencyReport,
    MethodLatency,
    latency_tables,
    write_latency_json,
)


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bandwidth is measured on 16 MB, not on half a gigabyte."""
    monkeypatch.setattr(memory, "_COPIED", 2**24)


@pytest.fixture(scope="module")
def problem() -> ExampleProblem:
    return example_problem(open_bundle(), device="cpu")


def report() -> LatencyReport:
    return LatencyReport(
        machine="a machine",
        versions="versions",
        threads=1,
        rounds=3,
        bytes_per_second=1e9,
        measured=(
            MethodLatency("small", PAPER, {1: 110.0, 3: 310.0}, 50_000_000, 12.0),
            MethodLatency("small", STRUCTURED, {1: 5.0, 2: 7.0, 5: 13.0}, 1_000_000, None),
        ),
        end_to_end=(EndToEnd("small", "engine", 14, {"networks": 1.5}),),
        cold_start={"import": 1000.0},
    )


def test_hand_worked_figures(tmp_path: Path) -> None:
    made = report()
    paper, structured = made.measured
    assert (paper.ms_per_iteration, structured.ms_per_iteration) == (100.0, 2.0)
    assert made.ratio(structured) == 50.0
    # A million bytes at a thousand million a second are a millisecond of the two.
    assert made.roofline_share(structured) == pytest.approx(0.5)
    text = latency_tables(made)
    assert "| small | structured | 2.00 | 50.0 | 1.0 | 50% |  |" in text
    assert "1: 110.0, 3: 310.0" in text
    write_latency_json(made, tmp_path / "b.json")
    rows = json.loads((tmp_path / "b.json").read_text())["measured"]
    assert [row["ratio_to_paper"] for row in rows] == [1.0, 50.0]


def test_taking_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing.time, "sleep", lambda _seconds: None)

    def run(name: str, seconds: float) -> None:
        order.append(name)
        clock[0] += seconds

    seconds = timing.interleaved({"a": lambda: run("a", 1), "b": lambda: run("b", 2)}, 2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [1, 1], "b": [2, 2]}
    assert timing.median_milliseconds([3.0, 1.0, 2.0]) == 2000


def test_least_bytes_count_what_moves(problem: ExampleProblem) -> None:
    network = problem.bundle.manifest.main.build()
    hidden, features = 256, 512
    dense = 2 * 157 * hidden + hidden**2 + 2 * hidden + 157
    assert least_bytes(STRUCTURED, problem) == 4 * 8 * dense
    head = dense + hidden * features
    assert least_bytes(AUTOGRAD, problem) == 4 * 10 * head
    all_ = head + sum(each.numel() for each in network.backbone.parameters())
    assert least_bytes(PAPER, problem) == 4 * 10 * all_
    assert bandwidth("cpu") > 1e8


def test_the_papers_formulation_is_that_of_scope_all(problem: ExampleProblem) -> None:
    from dualhmr import Recoverer
    from dualhmr.example import example
    from dualhmr_benchmarks.latency.methods import schedule_of

    rate = problem.bundle.manifest.schedule.adam_rate
    recoverer = Recoverer(backend="torch", scope="all")
    recovery = recoverer.recover(*example(), schedule=schedule_of(4, rate))
    losses = PapersFormulation(problem)(4)
    torch.testing.assert_close(
        losses, torch.tensor(recovery.loss_history[0][:4]), rtol=1e-4, atol=1e-6
    )


def test_methods_agree_and_disagreement_is_an_error(problem: ExampleProblem) -> None:
    timed = {name: take for name, take in methods(problem).items() if name != PAPER}
    check_agreement(timed, 14)
    other = dict(timed)
    other[STRUCTURED] = lambda steps: timed[STRUCTURED](steps - 1)
    with pytest.raises(RuntimeError, match="structured took 13 of 14 steps"):
        check_agreement(other, 14)
    other[STRUCTURED] = methods(problem)["structured, 2D only"]
    with pytest.raises(RuntimeError, match="losses of structured are off"):
        check_agreement(other, 14)


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_one_way(bundle: Path, method: str) -> float | None:
        """In a process of its own, which takes seconds."""
        return memory.peak_megabytes(bundle, method) if method == STRUCTURED else None

    monkeypatch.setattr(timing, "peak_megabytes", of_one_way)
    # No method reads the graph, which takes longer to trace than all else here.
    monkeypatch.setattr("dualhmr_export.write_bundle.write_adaptation_graph", mock.Mock())
    monkeypatch.setattr(timing, "_STEPS", (1, 4))
    monkeypatch.setattr(timing, "_PAPER_STEPS", (1, 2))
    files = ["--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.png")]
    assert main(["bench", "--networks", "default", "--rounds", "1", *files]) == 0
    printed = capsys.readouterr().out
    assert "| default | paper |" in printed
    assert "Cold start" in printed
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    made = json.loads((tmp_path / "b.json").read_text())
    assert made["measured"][0]["ratio_to_paper"] == 1.0
    assert any(row["peak_mb"] is not None for row in made["measured"])
    assert made["cold_start"]["import"] > 0
