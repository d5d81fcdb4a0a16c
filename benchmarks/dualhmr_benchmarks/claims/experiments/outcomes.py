"""Errors of everybody in a trial, for every seed, each measured once and kept."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.files import atomic_path
from dualhmr_benchmarks.claims.experiments.parallel import run_all
from dualhmr_benchmarks.claims.experiments.rates import choose_rates, chosen_rate
from dualhmr_benchmarks.claims.experiments.setting import Setting, file_sha256, key_of
from dualhmr_benchmarks.claims.experiments.trainings import (
    Training,
    obstacle,
    train_all,
    training_key,
)
from dualhmr_benchmarks.claims.experiments.trials import Trial, people_count, run_trial, steps_told
from dualhmr_training.evaluation.errors import PersonErrors

Array = npt.NDArray[np.float64]


class Outcome(NamedTuple):
    """Errors of N people of one seed's networks, after S numbers of steps."""

    after: Array
    """(S,) the numbers of steps."""
    measures: dict[str, Array]
    """(N, S) each, by name: see `dualhmr_training.evaluation.report`."""
    joints_mm: Array
    """(N, S, J) roots at the origin."""
    aligned_joints_mm: Array
    """(N, S, J) after Procrustes' alignment."""


class _Task(NamedTuple):
    trial: Trial
    seed: int

    def __str__(self) -> str:
        return f"{self.trial}, seed {self.seed}"


def measure_all(setting: Setting, trials: Iterable[Trial], *, say: Callable[[str], None]) -> None:
    """Trains, chooses rates and evaluates whatever of it is still to do."""
    wanted = list(dict.fromkeys(trials))
    train_all(setting, (trial.recipe for trial in wanted), say=say)
    choose_rates(setting, wanted, say=say)
    tasks = [
        _Task(trial, seed)
        for trial in wanted
        for seed in setting.seeds
        if not obstacle_of(setting, trial) and not _path(setting, _Task(trial, seed)).is_file()
    ]
    run_all(partial(_measure, setting), tasks, jobs=setting.jobs, say=say)


def outcomes(setting: Setting, trial: Trial) -> list[Outcome]:
    """What `measure_all` found, seed by seed; empty where a seed has no networks."""
    if obstacle_of(setting, trial):
        return []
    return [_read(_path(setting, _Task(trial, seed))) for seed in setting.seeds]


def obstacle_of(setting: Setting, trial: Trial) -> str | None:
    """Why a seed has no networks; None where all have."""
    found = [obstacle(setting, Training(trial.recipe, seed)) for seed in setting.seeds]
    return next(filter(None, found), None)


def _measure(setting: Setting, task: _Task) -> None:
    rate = chosen_rate(setting, task.trial)
    (people,) = run_trial(setting, Training(task.trial.recipe, task.seed), task.trial, [rate])
    path = _path(setting, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = dict(_arrays(people, steps_told(task.trial)))
        np.savez(file, **arrays)


_MEASURE = "measure/"


def _arrays(people: Sequence[PersonErrors], after: Sequence[int]) -> dict[str, Array]:
    arrays = {
        "after": np.array(after, dtype=np.float64),
        "joints_mm": np.stack([each.joints_mm for each in people]),
        "aligned_joints_mm": np.stack([each.aligned_joints_mm for each in people]),
    }
    for name in people[0].measures:
        arrays[_MEASURE + name] = np.stack([each.measures[name] for each in people])
    return arrays


@lru_cache(maxsize=64)
def _read(path: Path) -> Outcome:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    measures = {
        name.removeprefix(_MEASURE): array
        for name, array in arrays.items()
        if name.startswith(_MEASURE)
    }
    return Outcome(arrays["after"], measures, arrays["joints_mm"], arrays["aligned_joints_mm"])


def _path(setting: Setting, task: _Task) -> Path:
    key = key_of(
        training=training_key(setting, Training(task.trial.recipe, task.seed)),
        trial=asdict(task.trial),
        rate_of=training_key(setting, Training(task.trial.recipe, setting.seeds[0])),
        rates=setting.budget.adam_rates,
        rate_people=setting.budget.rate_people,
        people=people_count(setting, task.trial),
        poses=file_sha256(setting.test_poses),
    )
    return setting.cache / "evaluations" / f"{key}.npz"
