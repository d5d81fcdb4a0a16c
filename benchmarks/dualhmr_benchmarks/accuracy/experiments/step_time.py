"""What a training step costs, against that of another training: their steps take turns."""

import statistics
from collections.abc import Callable, Sequence

from dualhmr_benchmarks.accuracy.experiments.recipes import RECIPES
from dualhmr_benchmarks.accuracy.experiments.setting import Setting, free_body, poses_of
from dualhmr_benchmarks.accuracy.experiments.trainings import Training, obstacle
from dualhmr_benchmarks.timing import interleaved
from dualhmr_training.accelerator import open_accelerator
from dualhmr_training.synthetic_training import synthetic_objective, synthetic_trainer

_ROUNDS, _STEPS = 7, 4


def training_time_ratios(setting: Setting, recipes: Sequence[str]) -> str:
    """The time of a step of each recipe but the first, over the first's: ratios of medians.

    Says why, where one of the recipes has no stable training.
    """
    for name in recipes:
        if found := obstacle(setting, Training(name, setting.seeds[0])):
            return f"not measured; {name} is {found}"
    steps = {name: _some_steps(setting, name) for name in recipes}
    seconds = interleaved(steps, _ROUNDS)
    first, *others = (statistics.median(seconds[name]) for name in recipes)
    return ", ".join(f"{other / first:.2f}" for other in others)


def _some_steps(setting: Setting, recipe: str) -> Callable[[], object]:
    """Takes a few steps of a training from its start, further ones each time."""
    config = RECIPES[recipe].configuration(setting.budget, setting.seeds[0])
    accelerator = open_accelerator(setting.device)
    body = free_body()
    trainer = synthetic_trainer(
        config,
        poses_of(setting.poses),
        synthetic_objective(
            body.to(device=accelerator.device), config.supervision, camera=config.camera
        ),
        accelerator=accelerator,
        body=body,
    )
    return lambda: [trainer.train_step() for _ in range(_STEPS)]
