"""Errors of every person in an experiment, for every seed; computed once and kept in the cache.

Before that, Adam's rate at test time is chosen: for every method the best one on people in
held-out clips, so that no method wins because the rate suits it by luck.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.files import atomic_path, write_json
from dualhmr_benchmarks.claims.experiments.experiment import (
    STEPS,
    Experiment,
    evaluated_steps,
    people_count,
    run_experiment,
)
from dualhmr_benchmarks.claims.experiments.parallel import run_all
from dualhmr_benchmarks.claims.experiments.populations import GIVEN, VARIED
from dualhmr_benchmarks.claims.experiments.setting import Setting, file_sha256, key_of
from dualhmr_benchmarks.claims.experiments.trainings import (
    TrainingRun,
    train_all,
    training_failure,
    training_key,
)
from dualhmr_training.evaluation.errors import PersonErrors

Array = npt.NDArray[np.float64]

_RATE_MEASURE = "mpjpe_mm"
"""The error that the chosen rate makes smallest."""


class SeedErrors(NamedTuple):
    """Errors of N people with the networks of one seed, after S numbers of steps."""

    steps: Array
    """(S,) the numbers of steps."""
    measures: dict[str, Array]
    """(N, S) each, by name: see `dualhmr_training.evaluation.report`."""
    joints_mm: Array
    """(N, S, J) roots at the origin."""
    aligned_joints_mm: Array
    """(N, S, J) after Procrustes' alignment."""
    clips: tuple[str, ...] = ()
    """(N,) the clips that poses are from; empty of evaluations that did not keep them."""


class _Evaluation(NamedTuple):
    experiment: Experiment
    seed: int

    def __str__(self) -> str:
        return f"{self.experiment}, seed {self.seed}"


def evaluate_all(
    setting: Setting, experiments: Iterable[Experiment], *, say: Callable[[str], None]
) -> None:
    """Trains, chooses rates and evaluates what the cache does not have yet."""
    wanted = list(dict.fromkeys(experiments))
    recipes = (recipe for experiment in wanted for recipe in experiment.recipes)
    train_all(setting, recipes, say=say)
    choose_rates(setting, wanted, say=say)
    missing = [
        task
        for experiment in wanted
        if not experiment_failure(setting, experiment)
        for task in (_Evaluation(experiment, seed) for seed in setting.seeds)
        if not _errors_path(setting, task).is_file()
    ]
    run_all(partial(_evaluate, setting), missing, jobs=setting.jobs, say=say)


def errors_by_seed(setting: Setting, experiment: Experiment) -> list[SeedErrors]:
    """The results of `evaluate_all`, seed by seed; empty where the training of a seed failed."""
    if experiment_failure(setting, experiment):
        return []
    return [_read(_errors_path(setting, _Evaluation(experiment, seed))) for seed in setting.seeds]


def experiment_failure(setting: Setting, experiment: Experiment) -> str | None:
    """Why the first seed without networks has none; None where all seeds have them."""
    runs = (TrainingRun(recipe, seed) for recipe in experiment.recipes for seed in setting.seeds)
    return next(filter(None, (training_failure(setting, run) for run in runs)), None)


def choose_rates(
    setting: Setting, experiments: Iterable[Experiment], *, say: Callable[[str], None]
) -> None:
    """Finds the rate of every method that has none yet, with the networks of the first seed."""
    missing = [
        method
        for method in dict.fromkeys(map(_method, experiments))
        if not experiment_failure(replace(setting, seeds=setting.seeds[:1]), method)
        and not _rate_path(setting, method).is_file()
    ]
    run_all(partial(_choose_rate, setting), missing, jobs=setting.jobs, say=say)


def chosen_rate(setting: Setting, experiment: Experiment) -> float:
    """The rate that `choose_rates` found for the experiment's method."""
    found = json.loads(_rate_path(setting, _method(experiment)).read_text(encoding="utf-8"))
    return float(found["chosen"])


def _method(experiment: Experiment) -> Experiment:
    """The same for all populations and numbers of steps: no rate is fitted to a test."""
    given = experiment.style == GIVEN
    return replace(
        experiment,
        quality="noise 2%" if given else "openpose",
        style=GIVEN if given else VARIED,
        steps=STEPS,
        every_step=False,
        few=False,
        rendered=False,
    )


def _first_run(setting: Setting, experiment: Experiment) -> TrainingRun:
    return TrainingRun(experiment.recipe, setting.seeds[0])


def _choose_rate(setting: Setting, method: Experiment) -> None:
    rates = setting.budget.adam_rates
    errors = run_experiment(setting, _first_run(setting, method), method, rates, held_out=True)
    means = [
        float(np.mean([person.measures[_RATE_MEASURE][-1] for person in people]))
        for people in errors
    ]
    path = _rate_path(setting, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "trial": method.cached_facts,
        _RATE_MEASURE: {f"{rate:g}": mean for rate, mean in zip(rates, means, strict=True)},
        "chosen": rates[int(np.argmin(means))],
    }
    write_json(path, facts)


def _evaluate(setting: Setting, task: _Evaluation) -> None:
    experiment, seed = task
    rate, run = chosen_rate(setting, experiment), TrainingRun(experiment.recipe, seed)
    (people,) = run_experiment(setting, run, experiment, [rate])
    path = _errors_path(setting, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.savez(temporary, **_arrays(people, evaluated_steps(experiment)))


_MEASURE = "measure/"


def _arrays(people: Sequence[PersonErrors], steps: Sequence[int]) -> dict[str, Any]:
    return {
        "after": np.array(steps, dtype=np.float64),
        "joints_mm": np.stack([person.joints_mm for person in people]),
        "aligned_joints_mm": np.stack([person.aligned_joints_mm for person in people]),
        "clips": np.array([person.clip for person in people]),
    } | {
        _MEASURE + name: np.stack([person.measures[name] for person in people])
        for name in people[0].measures
    }


@lru_cache(maxsize=64)
def _read(path: Path) -> SeedErrors:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    measures = {
        name.removeprefix(_MEASURE): array
        for name, array in arrays.items()
        if name.startswith(_MEASURE)
    }
    return SeedErrors(
        arrays["after"],
        measures,
        arrays["joints_mm"],
        arrays["aligned_joints_mm"],
        tuple(arrays["clips"].tolist()) if "clips" in arrays else (),
    )


def _rate_path(setting: Setting, method: Experiment) -> Path:
    key = key_of(
        training=training_key(setting, _first_run(setting, method)),
        trial=method.cached_facts,
        rates=setting.budget.adam_rates,
        people=setting.budget.rate_people,
        **_other_trainings(setting, method, setting.seeds[0]),
    )
    return setting.cache / "rates" / f"{key}.json"


def _errors_path(setting: Setting, task: _Evaluation) -> Path:
    experiment, seed = task
    key = key_of(
        training=training_key(setting, TrainingRun(experiment.recipe, seed)),
        trial=experiment.cached_facts,
        rate_of=training_key(setting, _first_run(setting, experiment)),
        rates=setting.budget.adam_rates,
        rate_people=setting.budget.rate_people,
        people=people_count(setting, experiment),
        poses=file_sha256(setting.test_poses),
        **_other_trainings(setting, experiment, setting.seeds[0], seed),
    )
    return setting.cache / "evaluations" / f"{key}.npz"


def _other_trainings(
    setting: Setting, experiment: Experiment, *seeds: int
) -> dict[str, Sequence[str]]:
    """The keys of the trainings that the auxiliary network is from, if they are others."""
    if experiment.auxiliary_from is None:
        return {}
    runs = (TrainingRun(experiment.auxiliary_from, seed) for seed in seeds)
    return {"auxiliary": [training_key(setting, run) for run in runs]}
