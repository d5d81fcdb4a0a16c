"""An experiment: networks of one training recipe, adapted by one method to one population."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from dualhmr.adaptation.optimisers import GradientDescent
from dualhmr.adaptation.schedule import Phase, Schedule, named_schedule
from dualhmr.objective.objective import MeshTarget
from dualhmr.plain_data import from_plain
from dualhmr_benchmarks.claims.experiments.populations import (
    VARIED,
    evaluated_population,
    training_poses,
)
from dualhmr_benchmarks.claims.experiments.recipes import RECIPES
from dualhmr_benchmarks.claims.experiments.setting import Setting, free_body, poses_of
from dualhmr_benchmarks.claims.experiments.shared_weights import HEAD, SharedWeights
from dualhmr_benchmarks.claims.experiments.trainings import TrainingRun, training_folder
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.data.synthetic.poses import PoseFile
from dualhmr_training.dual import with_simulated_eye
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.errors import PersonErrors, measure_errors
from dualhmr_training.evaluation.groups import EvaluationGroup, GroundTruth, population_group
from dualhmr_training.training_folder import Networks, open_networks, read_record
from dualhmr_training.validation import held_out_clips

STEPS = 14
EFT, PAPER, TRAINED, TRAINED_2D, RELEASE = "eft", "paper", "trained", "trained_2d", "release"
_TEST_SEED, _HELD_OUT_SEED = 7, 1007


@dataclass(frozen=True)
class Experiment:
    """A row of a table, but for the seed."""

    recipe: str
    schedule: str
    quality: str = "openpose"
    """Of the keypoints."""
    style: str = VARIED
    """Of the people."""
    scope: str = HEAD
    """The parameters that are adapted, see `SharedWeights`."""
    people_at_once: int = 1
    """How many people share one set of adapted weights."""
    steps: int = STEPS
    every_step: bool = False
    """Errors after every step, instead of before the first and after the last; adaptation never
    stops early."""
    few: bool = False
    """On few people, to compare with an experiment that runs through autograd."""
    auxiliary_from: str | None = None
    """The recipe whose auxiliary network, of the same seed, replaces the recipe's own."""
    true_mesh: bool = False
    """Whether the truth replaces the pseudo mesh: no auxiliary network can do better."""
    rendered: bool = False
    """Whether an auxiliary network that looks at the image is shown rendered people. Otherwise what
    its landmark network says of them is simulated, as in training."""
    of_auxiliary: bool = False
    """Whether the auxiliary network is adapted in place of the main one."""

    def __str__(self) -> str:
        """For progress messages."""
        return f"{self.recipe}, {self.schedule}, {self.quality} keypoints"

    @property
    def through_autograd(self) -> bool:
        """Whether it cannot use the structured step, which is fast."""
        return self.scope != HEAD or self.people_at_once != 1

    @property
    def cached_facts(self) -> dict[str, object]:
        """All fields, for cache keys.

        Names in it never change: results that users have in their caches would be computed again.
        """
        facts = asdict(self)
        facts["moves"] = facts.pop("scope")
        added_later = ("auxiliary_from", "true_mesh", "rendered", "of_auxiliary")
        return {name: fact for name, fact in facts.items() if fact or name not in added_later}

    @property
    def recipes(self) -> tuple[str, ...]:
        """Those of its networks: the main one's, then the auxiliary one's if another."""
        return (self.recipe,) if self.auxiliary_from is None else (self.recipe, self.auxiliary_from)


def schedule_of(experiment: Experiment, inner: InnerLoop, adam_rate: float) -> Schedule:
    """The experiment's schedule for networks trained with `inner`, as long as its steps.

    `EFT` is Eq. 4-5, `PAPER` Algorithm 1. `TRAINED` and `TRAINED_2D` begin with the inner steps of
    training, of Eq. 9 and Eq. 7. `RELEASE` is the authors' code: such a step, then keypoints alone.
    """
    inner_steps = Phase(
        GradientDescent(inner.learning_rate, inner.max_norm), max(1, inner.steps), inner.losses
    )
    all_losses, keypoints = (named_schedule(name, adam_rate=adam_rate) for name in (PAPER, EFT))
    schedule = all_losses if experiment.schedule in (PAPER, TRAINED) else keypoints
    if experiment.schedule not in (PAPER, EFT):
        phases = (inner_steps, *schedule.phases)
        schedule = replace(schedule, name=experiment.schedule, phases=phases)
    if experiment.every_step:
        schedule = replace(schedule, tolerance=0.0)
    return schedule.limited_to(experiment.steps)


def run_experiment(
    setting: Setting,
    run: TrainingRun,
    experiment: Experiment,
    adam_rates: Sequence[float],
    *,
    held_out: bool = False,
) -> list[list[PersonErrors]]:
    """For every rate the errors of every person: in the test, or of a few in held-out clips."""
    folder = training_folder(setting, run)
    networks = _networks(setting, run, experiment)
    if held_out:
        group = _held_out_people(setting, experiment, networks.reads)
    else:
        count = people_count(setting, experiment)
        group = evaluated_people(setting, experiment, count, networks.reads)
    schedules = [schedule_of(experiment, trained_with(folder), rate) for rate in adam_rates]
    fitter = fitter_for(networks, group, experiment)
    return measure_errors(fitter, group, schedules, after=evaluated_steps(experiment))


def _networks(setting: Setting, run: TrainingRun, experiment: Experiment) -> Networks:
    networks = open_networks(training_folder(setting, run))
    if experiment.auxiliary_from is not None:
        other = TrainingRun(experiment.auxiliary_from, run.seed)
        networks = with_auxiliary_of(networks, open_networks(training_folder(setting, other)))
    if not experiment.rendered:
        networks = with_auxiliary_eye_simulated(networks)
    return auxiliary_alone(networks) if experiment.of_auxiliary else networks


def trained_with(folder: Path) -> InnerLoop:
    """The inner steps of the training in `folder`."""
    return from_plain(InnerLoop, read_record(folder)["config"]["inner"])


def evaluated_steps(experiment: Experiment) -> Sequence[int]:
    """The numbers of steps after which errors are computed."""
    return range(experiment.steps + 1) if experiment.every_step else (0, experiment.steps)


def people_count(setting: Setting, experiment: Experiment) -> int:
    """How many people an experiment evaluates."""
    few = experiment.few or experiment.through_autograd
    return setting.budget.few_people if few else setting.budget.people


def evaluated_people(
    setting: Setting, experiment: Experiment, count: int, reads: Collection[str]
) -> EvaluationGroup:
    """People of the test poses, with all that networks read: inputs by name.

    Experiments of one style have the same people, in one order.
    """
    return _people(experiment, poses_of(setting.test_poses), count, _TEST_SEED, reads)


def _held_out_people(
    setting: Setting, experiment: Experiment, reads: Collection[str]
) -> EvaluationGroup:
    """People like those that the networks were trained on, in clips that training left out."""
    poses = training_poses(poses_of(setting.poses), RECIPES[experiment.recipe].style)
    clips, count = held_out_clips(poses), setting.budget.rate_people
    pool = poses.select([clip in clips for clip in poses.clips])
    return _people(experiment, pool, count, _HELD_OUT_SEED, reads)


def _people(
    experiment: Experiment, pool: PoseFile, count: int, seed: int, reads: Collection[str]
) -> EvaluationGroup:
    return population_group(
        free_body(),
        pool,
        evaluated_population(experiment.style, experiment.quality),
        keypoints=experiment.quality,
        count=count,
        seed=seed,
        appearance=Appearance() if "image" in reads else None,
        landmarks=LandmarkErrors() if "landmarks" in reads else None,
    )


def fitter_for(networks: Networks, group: EvaluationGroup, experiment: Experiment) -> BatchFitter:
    """Adapts `networks` to people of `group` as the experiment says."""
    body, keypoint_set = free_body(), group.keypoint_set
    if not experiment.through_autograd:
        kind = TruthFitter if experiment.true_mesh else BatchFitter
        return kind(networks, body, keypoint_set, weights=networks.facts.weights)
    return SharedWeights(
        networks,
        body,
        keypoint_set,
        scope=experiment.scope,
        people_at_once=experiment.people_at_once,
    )


class TruthFitter(BatchFitter):
    """Adapts to the true mesh in place of the pseudo mesh."""

    def pseudo_mesh(self, truth: GroundTruth, _inputs: dict[str, Tensor]) -> MeshTarget:
        """The true mesh; ValueError of people whose truth is no body of this kind."""
        if truth.rotations is None or truth.betas is None:
            raise ValueError("the truth about these people has no rotations and betas")
        return self.objective.target(truth.rotations, truth.betas)


def with_auxiliary_of(networks: Networks, others: Networks) -> Networks:
    """The main network of the first with the auxiliary network of the second."""
    return replace(networks, auxiliary=others.auxiliary, auxiliary_spec=others.auxiliary_spec)


def with_auxiliary_eye_simulated(networks: Networks) -> Networks:
    """Networks whose auxiliary reads simulated landmarks in place of the image.

    As they are where the auxiliary network has no landmark network.
    """
    auxiliary = with_simulated_eye(networks.auxiliary)
    return networks if auxiliary is None else replace(networks, auxiliary=auxiliary.eval())


def auxiliary_alone(networks: Networks) -> Networks:
    """The auxiliary network as the main one, without another; ValueError where there is none."""
    if networks.auxiliary is None or networks.auxiliary_spec is None:
        raise ValueError(f"{networks.source} has no auxiliary network")
    return replace(
        networks,
        main=networks.auxiliary,
        main_spec=networks.auxiliary_spec,
        auxiliary=None,
        auxiliary_spec=None,
    )
