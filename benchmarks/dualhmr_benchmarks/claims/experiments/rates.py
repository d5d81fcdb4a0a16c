"""Adam's rate at test time: for every method the best one on people in held-out clips."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from dualhmr.files import write_json
from dualhmr_benchmarks.claims.experiments.parallel import run_all
from dualhmr_benchmarks.claims.experiments.populations import VARIED
from dualhmr_benchmarks.claims.experiments.setting import Setting, key_of
from dualhmr_benchmarks.claims.experiments.trainings import Training, obstacle, training_key
from dualhmr_benchmarks.claims.experiments.trials import STEPS, Trial, run_trial

_JUDGE = "mpjpe_mm"


def choose_rates(setting: Setting, trials: Iterable[Trial], *, say: Callable[[str], None]) -> None:
    """Finds the rate of every method among `trials` that has none yet, on the first seed."""
    questions = dict.fromkeys(_question(trial) for trial in trials)
    open_ones = [
        trial
        for trial in questions
        if obstacle(setting, _training(setting, trial)) is None
        and not _path(setting, trial).is_file()
    ]
    run_all(partial(_choose, setting), open_ones, jobs=setting.jobs, say=say)


def chosen_rate(setting: Setting, trial: Trial) -> float:
    """What `choose_rates` found for the trial's method."""
    found = json.loads(_path(setting, _question(trial)).read_text(encoding="utf-8"))
    return float(found["chosen"])


def _question(trial: Trial) -> Trial:
    """The same for all people and numbers of steps, so that no rate is chosen to suit a test."""
    return replace(
        trial, quality="openpose", style=VARIED, steps=STEPS, every_step=False, few=False
    )


def _choose(setting: Setting, trial: Trial) -> None:
    rates = setting.budget.adam_rates
    errors = run_trial(setting, _training(setting, trial), trial, rates, held_out=True)
    means = [
        float(np.mean([person.measures[_JUDGE][-1] for person in people])) for people in errors
    ]
    found = {
        "trial": asdict(trial),
        _JUDGE: {f"{rate:g}": mean for rate, mean in zip(rates, means, strict=True)},
        "chosen": rates[int(np.argmin(means))],
    }
    path = _path(setting, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


def _training(setting: Setting, trial: Trial) -> Training:
    return Training(trial.recipe, setting.seeds[0])


def _path(setting: Setting, question: Trial) -> Path:
    key = key_of(
        training=training_key(setting, _training(setting, question)),
        trial=asdict(question),
        rates=setting.budget.adam_rates,
        people=setting.budget.rate_people,
    )
    return setting.cache / "rates" / f"{key}.json"
