"""That what is planned for a day of a GPU's time does not end in its first second."""

import pytest
import torch

from dualhmr_benchmarks.accuracy.budgets import BUDGETS
from dualhmr_benchmarks.accuracy.names import BUDGET_NAMES
from dualhmr_benchmarks.accuracy.recipes import RECIPES
from dualhmr_benchmarks.accuracy.setting import free_body
from dualhmr_training.initial import initial_networks
from dualhmr_training.synthetic_training import synthetic_objective


@pytest.mark.parametrize("budget", BUDGET_NAMES)
@pytest.mark.parametrize("recipe", ["hmr_dual", "fine_tuned_on_2d", "all_parameters"])
def test_networks_of_every_budget_can_be_made(recipe: str, budget: str) -> None:
    config = RECIPES[recipe].configuration(BUDGETS[budget], 1)
    objective = synthetic_objective(free_body(), config.supervision, camera=config.camera)
    mean_pose = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)
    networks = initial_networks(config, objective, mean_pose=mean_pose)
    assert (networks.auxiliary is None) == (not RECIPES[recipe].auxiliary)
    reads_box_info = "box_info" in config.main.reads
    assert reads_box_info == (RECIPES[recipe].regressor == "cliff")
