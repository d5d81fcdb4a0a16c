"""What is evaluated: networks of a training, adapted in one way to one kind of people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from dualhmr.adaptation.optimisers import GradientDescent
from dualhmr.adaptation.schedule import Phase, Schedule, named_schedule
from dualhmr.plain_data import from_plain
from dualhmr_benchmarks.claims.experiments.populations import (
    VARIED,
    evaluated_population,
    held_out_pool,
    training_poses,
)
from dualhmr_benchmarks.claims.experiments.recipes import RECIPES
from dualhmr_benchmarks.claims.experiments.setting import Setting, free_body, poses_of
from dualhmr_benchmarks.claims.experiments.shared_weights import HEAD, SharedWeights
from dualhmr_benchmarks.claims.experiments.trainings import Training, training_folder
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.errors import PersonErrors, measure_errors
from dualhmr_training.evaluation.groups import EvaluationGroup, population_group
from dualhmr_training.training_folder import Networks, open_networks, read_record

STEPS = 14
EFT, PAPER, TRAINED, TRAINED_2D, RELEASE = "eft", "paper", "trained", "trained_2d", "release"


@dataclass(frozen=True)
class Trial:
    """One row's worth, but for the seed."""

    recipe: str
    schedule: str
    quality: str = "openpose"
    style: str = VARIED
    moves: str = HEAD
    people_at_once: int = 1
    steps: int = STEPS
    every_step: bool = False
    """Errors after every step, rather than before the first and after the last; nobody stops
    early."""
    few: bool = False
    """On few people, so as to be compared with a trial that runs through autograd."""

    def __str__(self) -> str:
        """For people who wait for it."""
        return f"{self.recipe}, {self.schedule}, {self.quality} keypoints"

    @property
    def through_autograd(self) -> bool:
        """Whether it takes the slow way."""
        return self.moves != HEAD or self.people_at_once != 1

    def of_keypoints(self, quality: str) -> "Trial":
        """The same with other keypoints."""
        return replace(self, quality=quality)


def schedule_of(trial: Trial, inner: InnerLoop, adam_rate: float) -> Schedule:
    """The trial's schedule for networks trained with `inner`, drawn out to its steps.

    `EFT` is Eq. 4-5, `PAPER` Algorithm 1. `TRAINED` and `TRAINED_2D` begin with the steps of
    training, of Eq. 9 and Eq. 7. `RELEASE` is the authors' code: such a step, then keypoints alone.
    """
    trained = Phase(
        GradientDescent(inner.learning_rate, inner.max_norm), max(1, inner.steps), inner.losses
    )
    all_losses, keypoints = (named_schedule(name, adam_rate=adam_rate) for name in (PAPER, EFT))
    schedule = all_losses if trial.schedule in (PAPER, TRAINED) else keypoints
    if trial.schedule not in (PAPER, EFT):
        schedule = replace(schedule, name=trial.schedule, phases=(trained, *schedule.phases))
    if trial.every_step:
        schedule = replace(schedule, tolerance=0.0)
    return schedule.limited_to(trial.steps)


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
    fitter = fitter_for(networks, group, trial)
    return measure_errors(fitter, group, schedules, after=steps_told(trial))


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


def evaluated_people(
    setting: Setting, trial: Trial, count: int, *, pictures: bool
) -> EvaluationGroup:
    """The same people for every trial of a style, as far as they are as many."""
    return _people(trial, poses_of(setting.test_poses).rotvecs, count, _TEST_SEED, pictures)


def _held_out_pool(setting: Setting, trial: Trial) -> Tensor:
    """Of the kind of people that the trial's networks were trained on."""
    style = RECIPES[trial.recipe].style
    return held_out_pool(training_poses(poses_of(setting.poses), style))


def _people(trial: Trial, pool: Tensor, count: int, seed: int, pictures: bool) -> EvaluationGroup:
    return population_group(
        free_body(),
        pool,
        evaluated_population(trial.style, trial.quality),
        keypoints=trial.quality,
        count=count,
        seed=seed,
        appearance=Appearance() if pictures else None,
    )


def fitter_for(networks: Networks, group: EvaluationGroup, trial: Trial) -> BatchFitter:
    """What adapts networks to people of `group` as the trial says."""
    body, given = free_body(), group.keypoint_set
    if not trial.through_autograd:
        return BatchFitter(networks, body, given, weights=networks.facts.weights)
    return SharedWeights(networks, body, given, moves=trial.moves, at_once=trial.people_at_once)
