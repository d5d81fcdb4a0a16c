"""What is evaluated: networks of a training, adapted in one way to one kind of people."""

from dataclasses import dataclass, replace

from dualhmr.schedules import GradientDescent, Phase, Schedule, named_schedule
from dualhmr_benchmarks.accuracy.experiments.shared_weights import HEAD
from dualhmr_benchmarks.accuracy.experiments.world import VARIED
from dualhmr_training.inner_loop import InnerLoop

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
