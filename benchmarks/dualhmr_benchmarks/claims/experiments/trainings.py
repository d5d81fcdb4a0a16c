"""Trainings, each run once: its folder is named by its configuration; interrupted ones resume."""

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
from dualhmr_training.run import open_accelerator
from dualhmr_training.synthetic_training import (
    synthetic_objective,
    synthetic_trainer,
    train_on_synthetic_people,
)
from dualhmr_training.training_folder import open_networks

_UNSTABLE = "unstable.json"
_TIMED_ROUNDS, _TIMED_STEPS = 7, 4


class TrainingRun(NamedTuple):
    """One recipe with one seed."""

    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"training {self.recipe}, seed {self.seed}"

    @property
    def starts_from(self) -> "TrainingRun | None":
        """The run whose weights it fine-tunes."""
        name = RECIPES[self.recipe].starts_from
        return None if name is None else TrainingRun(name, self.seed)


def training_key(setting: Setting, run: TrainingRun) -> str:
    """Of everything that the outcome of a training depends on, except the code."""
    recipe = RECIPES[run.recipe]
    return key_of(
        config=asdict(recipe.configuration(setting.budget, run.seed)),
        style=recipe.style,
        poses=file_sha256(setting.poses),
        starts_from=run.starts_from and training_key(setting, run.starts_from),
    )


def training_folder(setting: Setting, run: TrainingRun) -> Path:
    """Where its networks are, or will be."""
    return setting.cache / "trainings" / training_key(setting, run)


def training_failure(setting: Setting, run: TrainingRun) -> str | None:
    """Why a run has no networks and will have none: it diverged, or it is not possible."""
    if run.starts_from is not None and (found := training_failure(setting, run.starts_from)):
        return f"{found} ({run.starts_from})"
    recipe = RECIPES[run.recipe]
    if recipe.scope == "all" and "image" in setting.budget.network(recipe.regressor == CLIFF).reads:
        return "not possible: inner steps of all parameters and a backbone with batch norms"
    path = training_folder(setting, run) / _UNSTABLE
    if not path.is_file():
        return None
    message: str = json.loads(path.read_text(encoding="utf-8"))["message"]
    # The colon is followed by every loss of that step.
    return f"unstable: {message.partition(':')[0]}"


def train_all(setting: Setting, recipes: Iterable[str], *, say: Callable[[str], None]) -> None:
    """Trains all seeds of some recipes, and of the recipes that they start from.

    Finished and failed runs are left alone. Raises as `train_on_synthetic_people`.
    """
    wanted = [TrainingRun(name, seed) for name in dict.fromkeys(recipes) for seed in setting.seeds]
    started_from = [run.starts_from for run in wanted if run.starts_from is not None]
    for runs in (started_from, wanted):
        # Recipes may come to the same configuration, which is then trained once.
        by_folder: dict[Path, TrainingRun] = {}
        for run in runs:
            by_folder.setdefault(training_folder(setting, run), run)
        missing = [
            run
            for folder, run in by_folder.items()
            if not _is_finished(folder, run) and training_failure(setting, run) is None
        ]
        run_all(partial(_train, setting), missing, jobs=setting.jobs, say=say)


def _is_finished(folder: Path, run: TrainingRun) -> bool:
    networks = ("main", "auxiliary") if RECIPES[run.recipe].auxiliary else ("main",)
    return all((folder / f"{network}.safetensors").is_file() for network in networks)


def _train(setting: Setting, run: TrainingRun) -> None:
    """Trains, or resumes; notes in the folder that a training diverged."""
    recipe = RECIPES[run.recipe]
    folder = training_folder(setting, run)
    config = recipe.configuration(setting.budget, run.seed)
    try:
        train_on_synthetic_people(
            config,
            training_poses(poses_of(setting.poses), recipe.style),
            folder,
            accelerator=open_accelerator(setting.device),
            body=free_body(),
            initial=run.starts_from and open_networks(training_folder(setting, run.starts_from)),
            workers=(os.cpu_count() or 1) // setting.jobs if config.renders else 0,
        )
    except FloatingPointError as error:
        write_json(folder / _UNSTABLE, {"message": str(error)})


def training_time_ratios(setting: Setting, recipes: Sequence[str]) -> str:
    """The time of a step of each recipe but the first, over the first's: ratios of medians.

    If a recipe has no networks, the reason instead.
    """
    for name in recipes:
        if found := training_failure(setting, TrainingRun(name, setting.seeds[0])):
            return f"not measured; {name} is {found}"
    seconds = interleaved({name: _some_steps(setting, name) for name in recipes}, _TIMED_ROUNDS)
    first, *others = (statistics.median(seconds[name]) for name in recipes)
    return ", ".join(f"{other / first:.2f}" for other in others)


def _some_steps(setting: Setting, recipe: str) -> Callable[[], object]:
    """A function that takes the next few steps of a training from its start."""
    config = RECIPES[recipe].configuration(setting.budget, setting.seeds[0])
    accelerator = open_accelerator(setting.device)
    body = free_body()
    on_device = body.to(device=accelerator.device)
    objective = synthetic_objective(on_device, config.supervision, camera=config.camera)
    trainer = synthetic_trainer(
        config, poses_of(setting.poses), objective, accelerator=accelerator, body=body
    )
    return lambda: [trainer.train_step() for _ in range(_TIMED_STEPS)]
