"""Trainings that come to numbers that are not finite: noted, not tried again, and shown."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reproducing_examples import few_to_validate_on, says_nothing, tiny_setting, written

from dualhmr_benchmarks.claims.ablations import TABLE_8, TABLE_11
from dualhmr_benchmarks.claims.artefact import Artefact, Comparison, Row
from dualhmr_benchmarks.claims.experiments.evaluations import errors_by_seed
from dualhmr_benchmarks.claims.experiments.experiment import EFT, PAPER, TRAINED, Experiment
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.experiments.trainings import (
    TrainingRun,
    train_all,
    training_failure,
    training_folder,
)
from dualhmr_benchmarks.claims.figures import FIGURE_3, FIGURE_4, FIGURE_6
from dualhmr_benchmarks.claims.reports.report import MeasuredRow
from dualhmr_benchmarks.claims.reproduce import reproduce

DUAL, ORDINARY = TrainingRun("cliff_dual", 1), TrainingRun("cliff_ordinary", 1)
NOTE = "unstable: step 0 has numbers that are not finite"
TABLE = Artefact(
    name="two",
    title="",
    says="",
    comparable="",
    rows=(
        Row("EFT", Experiment("cliff_ordinary", EFT)),
        Row("pseudo mesh", Experiment("cliff_ordinary", PAPER)),
        Row("ours", Experiment("cliff_dual", TRAINED), paper={"mpjpe_mm": 62.9}),
    ),
    comparisons=(Comparison("ours", "EFT"), Comparison("pseudo mesh", "EFT")),
)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Inner steps lead out of all numbers; ordinary training has none of them."""
    setting = tiny_setting(tmp_path_factory.mktemp("unstable"))
    training = setting.budget.training
    far = replace(training, inner=replace(training.inner, learning_rate=1e30))
    with few_to_validate_on():
        yield replace(setting, budget=replace(setting.budget, training=far))


def test_noted_and_not_tried_again(setting: Setting) -> None:
    train_all(setting, [DUAL.recipe, ORDINARY.recipe], say=says_nothing)
    assert training_failure(setting, ORDINARY) is None
    assert training_failure(setting, DUAL) == NOTE
    folder = training_folder(setting, DUAL)
    message = json.loads((folder / "unstable.json").read_text())["message"]
    assert message.startswith("step 0 has numbers that are not finite: {")
    assert not list(folder.glob("*.safetensors"))
    before, said = written(folder), list[str]()
    train_all(setting, [DUAL.recipe], say=said.append)
    assert (written(folder), said) == (before, [])


def test_shown_without_numbers(setting: Setting, tmp_path: Path) -> None:
    report = reproduce(TABLE, setting, tmp_path, say=says_nothing)
    *stable, unstable = report.lines
    assert unstable == MeasuredRow("ours", {}, {"mpjpe_mm": 62.9}, NOTE)
    assert all(line.measured and not line.note for line in stable)
    assert [each.label for each in report.differences] == ["pseudo mesh - EFT"]
    assert f"| {NOTE} |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "plot.png").is_file()
    assert [each["recipe"] for each in report.trainings] == [ORDINARY.recipe, DUAL.recipe]


def test_one_seed_of_two(setting: Setting) -> None:
    """That a row is of all seeds or of none."""
    both, (ordinary, *_) = replace(setting, seeds=(1, 2)), TABLE.experiments
    train_all(both, [ORDINARY.recipe], say=says_nothing)
    path = training_folder(both, TrainingRun(ORDINARY.recipe, 2)) / "unstable.json"
    path.write_text(json.dumps({"message": "step 5: made up"}))
    assert errors_by_seed(both, ordinary) == []
    path.unlink()


@pytest.mark.parametrize("artefact", [FIGURE_3, FIGURE_4, FIGURE_6, TABLE_8], ids=lambda x: x.name)
def test_what_else_is_made_goes_without_them(
    artefact: Artefact, setting: Setting, tmp_path: Path
) -> None:
    report = reproduce(artefact, setting, tmp_path, say=says_nothing)
    unstable = {row.label for row in artefact.rows if row.experiment.schedule == TRAINED}
    assert {line.label for line in report.lines if line.note == NOTE} == unstable
    assert (tmp_path / "table.md").is_file()
    assert (tmp_path / "strips_cliff_ordinary.png").is_file() == (artefact is FIGURE_4)


def test_fine_tuning_of_what_is_unstable_is_unstable(setting: Setting, tmp_path: Path) -> None:
    training = setting.budget.training
    far = replace(training, optimiser=replace(training.optimiser, learning_rate=1e38))
    setting = replace(setting, budget=replace(setting.budget, training=far))
    report = reproduce(TABLE_11, setting, tmp_path, say=says_nothing)
    assert training_failure(setting, ORDINARY) is not None
    assert training_failure(setting, TrainingRun("fine_tuned_on_2d", 1)) is not None
    assert all(line.note.startswith("unstable: ") for line in report.lines)
