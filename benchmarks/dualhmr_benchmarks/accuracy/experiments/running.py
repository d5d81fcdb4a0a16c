"""Running a trial: everybody's errors, with the networks of one training."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dualhmr.plain_data import from_plain
from dualhmr_benchmarks.accuracy.experiments.recipes import RECIPES
from dualhmr_benchmarks.accuracy.experiments.setting import Setting, free_body, poses_of
from dualhmr_benchmarks.accuracy.experiments.shared_weights import SharedWeights
from dualhmr_benchmarks.accuracy.experiments.trainings import Training, training_folder
from dualhmr_benchmarks.accuracy.experiments.trials import Trial, schedule_of
from dualhmr_benchmarks.accuracy.experiments.world import (
    evaluated_population,
    held_out_pool,
    training_poses,
)
from dualhmr_training.evaluation.adapting import Adapter, PeopleAdapter
from dualhmr_training.evaluation.errors import PersonErrors
from dualhmr_training.evaluation.evaluate import errors_of
from dualhmr_training.evaluation.subjects import Group
from dualhmr_training.evaluation.synthetic import population_group
from dualhmr_training.inner_loop import InnerLoop
from dualhmr_training.opened import Networks, open_networks
from dualhmr_training.synthetic.appearance import Appearance
from dualhmr_training.trained import read_record

_TEST_SEED, _HELD_OUT_SEED = 7, 1007


def run_trial(
    setting: Setting,
    training: Training,
    trial: Trial,
    adam_rates: Sequence[float],
    *,
    held_out: bool = False,
) -> list[list[PersonErrors]]:
    """For every rate everybody's errors: of the test people, or of a few in held-out clips."""
    folder = training_folder(setting, training)
    networks = open_networks(folder)
    pictures = "image" in networks.reads
    if held_out:
        count = setting.budget.rate_people
        group = _people(trial, _held_out_pool(setting, trial), count, _HELD_OUT_SEED, pictures)
    else:
        group = evaluated_people(setting, trial, people_count(setting, trial), pictures=pictures)
    schedules = [schedule_of(trial, trained_with(folder), rate) for rate in adam_rates]
    adapter = adapter_for(networks, group, trial)
    return errors_of(adapter, group, schedules, after=steps_told(trial))


def trained_with(folder: Path) -> InnerLoop:
    """The inner steps of the training in `folder`."""
    return from_plain(InnerLoop, read_record(folder)["config"]["inner"])


def steps_told(trial: Trial) -> Sequence[int]:
    """After which numbers of steps errors are told."""
    return range(trial.steps + 1) if trial.every_step else (0, trial.steps)


def people_count(setting: Setting, trial: Trial) -> int:
    """How many people are evaluated on."""
    few = trial.few or trial.through_autograd
    return setting.budget.few_people if few else setting.budget.people


def evaluated_people(setting: Setting, trial: Trial, count: int, *, pictures: bool) -> Group:
    """The same people for every trial of a style, as far as they are as many."""
    return _people(trial, poses_of(setting.test_poses).rotvecs, count, _TEST_SEED, pictures)


def _held_out_pool(setting: Setting, trial: Trial) -> Tensor:
    """Of the kind of people that the trial's networks were trained on."""
    style = RECIPES[trial.recipe].style
    return held_out_pool(training_poses(poses_of(setting.poses), style))


def _people(trial: Trial, pool: Tensor, count: int, seed: int, pictures: bool) -> Group:
    return population_group(
        free_body(),
        pool,
        evaluated_population(trial.style, trial.quality),
        keypoints=trial.quality,
        count=count,
        seed=seed,
        appearance=Appearance() if pictures else None,
    )


def adapter_for(networks: Networks, group: Group, trial: Trial) -> Adapter:
    """What adapts networks to people of `group` as the trial says."""
    body, given = free_body(), group.keypoint_set
    if not trial.through_autograd:
        return PeopleAdapter(networks, body, given, weights=networks.facts.weights)
    return SharedWeights(networks, body, given, moves=trial.moves, at_once=trial.people_at_once)
