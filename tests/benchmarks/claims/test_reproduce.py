"""`dualhmr reproduce` from one end to the other, for every name, with the smallest budget."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.accuracy_examples import written_report
from helpers.reproducing_examples import (
    few_to_validate_on,
    reproduce_command,
    tiny_setting,
    written,
)

from dualhmr_benchmarks.claims import figures as latency_table
from dualhmr_benchmarks.claims import reproduce
from dualhmr_benchmarks.claims.artefact import Artefact
from dualhmr_benchmarks.claims.experiments import trainings as step_time
from dualhmr_benchmarks.claims.experiments.recipes import BUDGETS, RECIPES
from dualhmr_benchmarks.claims.reports.report import ClaimReport, MeasuredRow, markdown
from dualhmr_benchmarks.claims.reproduce import ARTEFACTS
from dualhmr_benchmarks.cli.reproduce import ARTEFACT_NAMES, BUDGET_NAMES, EVERYTHING
from dualhmr_benchmarks.latency.methods import PAPER, STRUCTURED
from dualhmr_benchmarks.latency.report import LatencyReport, MethodLatency

FURTHER_FILES = {
    "table1": {"people.png"},
    "figure3": {"curves.png"},
    "figure4": {"strips_cliff_dual.png", "strips_cliff_ordinary.png"},
    "figure6": {"joints.png"},
    "table6": {"latency.md", "latency.json", "latency.png"},
}
# MPJPE, PA-MPJPE and PVE in mm, from the PDF.
TABLE_1 = {
    "HMR": (130.0, 81.3),
    "CLIFF": (69.0, 43.0, 81.2),
    "EFT HMR, openpose": (85.1, 52.2, 98.7),
    "EFT CLIFF, openpose": (),
    "ours HMR, openpose": (73.3, 44.3, 90.3),
    "ours HMR, truth": (68.9, 39.6, 85.5),
    "ours CLIFF, openpose": (62.9, 39.7, 80.1),
    "ours CLIFF, rsn": (62.4, 39.5, 78.1),
    "ours CLIFF, truth": (57.8, 35.3, 74.4),
}


def latencies(*_arguments: object, **_options: object) -> LatencyReport:
    """Made up: the benchmark takes a minute, and `test_bench` runs it."""
    return LatencyReport(
        machine="a machine",
        versions="versions",
        threads=1,
        rounds=1,
        bytes_per_second=1e9,
        measured=(
            MethodLatency("small", PAPER, {1: 110.0, 3: 310.0}, 50_000_000, 12.0),
            MethodLatency("small", STRUCTURED, {1: 5.0, 2: 7.0}, 1_000_000, None),
        ),
        end_to_end=(),
        cold_start={"import": 1000.0},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all names share their trainings."""
    folder = tmp_path_factory.mktemp("reproduced")
    tiny_setting(folder)
    with few_to_validate_on(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_time, "_TIMED_ROUNDS", 1)
        patch.setattr(latency_table, "measure", latencies)
        yield folder


def reproduced(folder: Path, name: str, *, seeds: int = 1) -> ClaimReport:
    assert reproduce_command(folder, name, f"--seeds={seeds}", "--jobs=1") == 0
    return written_report(folder / "out" / name)


def at_first_level(artefact: Artefact) -> Artefact:
    """All methods that it has at several levels, at one, to save time."""
    first = artefact.levels[0]
    return replace(
        artefact,
        rows=tuple(row for row in artefact.rows if row.label.endswith(first)),
        comparisons=tuple(each for each in artefact.comparisons if each.of.endswith(first)),
        levels=(first,),
    )


@pytest.mark.parametrize("name", ARTEFACT_NAMES)
def test_every_name(
    name: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artefact = ARTEFACTS[name]
    if artefact.levels:
        artefact = at_first_level(artefact)
        monkeypatch.setattr(reproduce, "ARTEFACTS", {**ARTEFACTS, name: artefact})
    seeds = 2 if name == "table10" else 1
    report = reproduced(folder, name, seeds=seeds)
    out = folder / "out" / name
    plots = {"plot.png"} if artefact.rows else set()
    expected = {"table.md", "table.json"} | plots | FURTHER_FILES.get(name, set())
    assert {path.name for path in out.iterdir()} == expected
    for path in out.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert (out / "table.md").read_text("utf-8") == markdown(report)
    assert markdown(report) in capsys.readouterr().out
    assert [line.label for line in report.lines] == [row.label for row in artefact.rows]
    for line in report.lines:
        if not line.note:
            check_numbers(line, artefact.measures, seeds)
    stable = {line.label for line in report.lines if not line.note}
    assert [(each.label, each.measure) for each in report.differences] == [
        (f"{each.of} - {each.against}", each.measure)
        for each in artefact.comparisons
        if {each.of, each.against} <= stable
    ]
    assert {each["recipe"] for each in report.trainings} >= {
        experiment.recipe for experiment in artefact.experiments
    }


def check_numbers(line: MeasuredRow, measures: tuple[str, ...], seeds: int) -> None:
    assert set(line.measured) == set(measures)
    for spread in line.measured.values():
        assert all(map(math.isfinite, spread.by_seed))
        assert len(set(spread.by_seed)) == seeds


def test_what_steps_and_keypoints_change(folder: Path) -> None:
    """Lines that have nothing in common by mistake, and something on purpose."""
    of_label = {line.label: line.measured for line in reproduced(folder, "table1").lines}
    adapted = [numbers for label, numbers in of_label.items() if "," in label]
    errors = [numbers["mpjpe_mm"].by_seed for numbers in (*adapted, of_label["CLIFF"])]
    assert len(set(errors)) == len(errors) == 13
    tables = [reproduced(folder, name) for name in ("table9", "figure6")]
    assert (
        tables[0].lines[0].measured
        == tables[1].lines[0].measured
        == of_label["EFT CLIFF, openpose"]
    )


def test_nothing_is_done_twice(folder: Path) -> None:
    reproduced(folder, "table11")
    before = written(folder / "cache")
    table = (folder / "out" / "table11" / "table.json").read_bytes()
    (folder / "out" / "table11" / "table.json").unlink()
    reproduced(folder, "table11")
    assert written(folder / "cache") == before
    assert (folder / "out" / "table11" / "table.json").read_bytes() == table


def test_the_papers_numbers(folder: Path) -> None:
    report = reproduced(folder, "table1")
    found = {line.label: tuple(line.paper.values()) for line in report.lines}
    assert {label: found[label] for label in TABLE_1} == TABLE_1
    differences = {each.label: each.paper for each in report.differences}
    assert differences["ours CLIFF, openpose - CLIFF"] == pytest.approx(-3.3)
    assert differences["ours HMR, openpose - EFT HMR, openpose"] == pytest.approx(-7.9)
    assert differences["EFT CLIFF, openpose - CLIFF"] is None


def test_names() -> None:
    assert tuple(ARTEFACTS) == ARTEFACT_NAMES
    assert set(BUDGETS) == set(BUDGET_NAMES)
    assert EVERYTHING not in ARTEFACTS
    for name, artefact in ARTEFACTS.items():
        assert artefact.name == name
        assert all(each.recipe in RECIPES for each in artefact.experiments)
        for comparison in artefact.comparisons:
            assert {comparison.measure} <= set(artefact.measures)
            assert artefact.row(comparison.of) != artefact.row(comparison.against)
    before = {recipe.starts_from for recipe in RECIPES.values()} - {None}
    assert before <= set(RECIPES)
