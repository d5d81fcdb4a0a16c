"""Trainings, each done once: kept under a name that its configuration decides, and resumed."""

import json
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dualhmr.files import write_json
from dualhmr_benchmarks.claims.experiments.parallel import run_all
from dualhmr_benchmarks.claims.experiments.populations import training_poses
from dualhmr_benchmarks.claims.experiments.recipes import CLIFF, RECIPES
from dualhmr_benchmarks.claims.experiments.setting import (
    Setting,
    file_sha256,
    free_body,
    key_of,
    poses_of,
)
from dualhmr_benchmarks.latency.measure import interleaved
from dualhmr_training.initial import read_initial
from dualhmr_training.run import open_accelerator
from dualhmr_training.synthetic_training import (
    synthetic_objective,
    synthetic_trainer,
    train_on_synthetic_people,
)

_UNSTABLE = "unstable.json"


class Training(NamedTuple):
    """One recipe with one seed."""

    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"training {self.recipe}, seed {self.seed}"


def training_key(setting: Setting, training: Training) -> str:
    """Decided by all that the training's outcome depends on, but the code."""
    recipe = RECIPES[training.recipe]
    before = recipe.starts_from and training_key(
        setting, Training(recipe.starts_from, training.seed)
    )
    return key_of(
        config=asdict(recipe.configuration(setting.budget, training.seed)),
        style=recipe.style,
        poses=file_sha256(setting.poses),
        starts_from=before,
    )


def training_folder(setting: Setting, training: Training) -> Path:
    """Where its networks are, or will be."""
    return setting.cache / "trainings" / training_key(setting, training)


def obstacle(setting: Setting, training: Training) -> str | None:
    """Why there are no networks and will be none: what ended the training, or rules it out.

    None where there is nothing in the way.
    """
    recipe = RECIPES[training.recipe]
    if recipe.starts_from is not None:
        before = Training(recipe.starts_from, training.seed)
        if found := obstacle(setting, before):
            return f"{found} ({before})"
    if recipe.scope == "all" and "image" in setting.budget.network(recipe.regressor == CLIFF).reads:
        return "not possible: inner steps of all parameters and a backbone with batch norms"
    path = training_folder(setting, training) / _UNSTABLE
    if not path.is_file():
        return None
    message: str = json.loads(path.read_text(encoding="utf-8"))["message"]
    # What follows the colon are all the losses of that step.
    return f"unstable: {message.partition(':')[0]}"


def train_all(setting: Setting, recipes: Iterable[str], *, say: Callable[[str], None]) -> None:
    """Trains all seeds of some recipes, and of those they start from, where it is still to do.

    Raises as `train_on_synthetic_people` does.
    """
    wanted = dict.fromkeys(recipes)
    first = dict.fromkeys(
        before for name in wanted if (before := RECIPES[name].starts_from) is not None
    )
    for wave in (first, wanted):
        tasks = [Training(name, seed) for name in wave for seed in setting.seeds]
        tasks = _unfinished(setting, tasks)
        run_all(partial(train, setting), tasks, jobs=setting.jobs, say=say)


def _unfinished(setting: Setting, trainings: list[Training]) -> list[Training]:
    """Each once, also where recipes come to the same configuration."""
    by_folder = {training_folder(setting, each): each for each in reversed(trainings)}
    return [
        each
        for folder, each in reversed(by_folder.items())
        if not _is_finished(folder, each) and obstacle(setting, each) is None
    ]


def _is_finished(folder: Path, training: Training) -> bool:
    networks = ("main", "auxiliary") if RECIPES[training.recipe].auxiliary else ("main",)
    return all((folder / f"{network}.safetensors").is_file() for network in networks)


def train(setting: Setting, training: Training) -> None:
    """Trains, or goes on where it was interrupted; notes where it came to no end."""
    recipe = RECIPES[training.recipe]
    folder = training_folder(setting, training)
    initial = None
    if recipe.starts_from is not None:
        before = Training(recipe.starts_from, training.seed)
        initial = read_initial(training_folder(setting, before))
    config = recipe.configuration(setting.budget, training.seed)
    renderers = (os.cpu_count() or 1) // setting.jobs if "image" in config.reads else 0
    try:
        train_on_synthetic_people(
            config,
            training_poses(poses_of(setting.poses), recipe.style),
            folder,
            accelerator=open_accelerator(setting.device),
            body=free_body(),
            initial=initial,
            workers=renderers,
        )
    except FloatingPointError as error:
        write_json(folder / _UNSTABLE, {"message": str(error)})


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
