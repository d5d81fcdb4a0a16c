"""That what is planned for a day of a GPU's time does not end in its first second."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.reproducing_examples import says_nothing, tiny_setting

from dualhmr_benchmarks.claims.experiments.recipes import BUDGETS, RECIPES
from dualhmr_benchmarks.claims.experiments.setting import free_body
from dualhmr_benchmarks.claims.experiments.trainings import TrainingRun, train_all, training_failure
from dualhmr_benchmarks.cli.reproduce import BUDGET_NAMES
from dualhmr_training.initial import initial_networks
from dualhmr_training.synthetic_training import synthetic_objective


@pytest.mark.parametrize("budget", BUDGET_NAMES)
@pytest.mark.parametrize("recipe", ["hmr_dual", "fine_tuned_on_2d", "given_dual_eye"])
def test_networks_of_every_budget_can_be_made(recipe: str, budget: str) -> None:
    config = RECIPES[recipe].configuration(BUDGETS[budget], 1)
    objective = synthetic_objective(free_body(), config.supervision, camera=config.camera)
    mean_pose = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)
    networks = initial_networks(config, objective, mean_pose=mean_pose)
    assert (networks.auxiliary is None) == (not RECIPES[recipe].auxiliary)
    reads_box_info = "box_info" in config.main.reads
    assert reads_box_info == (RECIPES[recipe].regressor == "cliff")


@pytest.mark.parametrize("budget", BUDGET_NAMES)
def test_batch_norms_rule_out_steps_of_all_parameters(budget: str, tmp_path: Path) -> None:
    setting = replace(tiny_setting(tmp_path), budget=BUDGETS[budget])
    found = training_failure(setting, TrainingRun("all_parameters", 1))
    if budget == "full":
        assert found is not None
        assert "batch norms" in found
        train_all(setting, ["all_parameters"], say=says_nothing)
        assert not (tmp_path / "cache").exists()
    else:
        assert found is None
