"""Adapts networks to people as a user would, and measures how far off they are."""

from collections.abc import Callable, Sequence

from dualhmr.adaptation import Schedule
from dualhmr_training.evaluation.adapting import Adapter
from dualhmr_training.evaluation.errors import PersonErrors, people_errors
from dualhmr_training.evaluation.results import Evaluation, summarise
from dualhmr_training.evaluation.subjects import Group

Progress = Callable[[int], None]


def evaluate(
    adapter: Adapter,
    group: Group,
    schedules: Sequence[Schedule],
    *,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """An evaluation for every schedule, all on the same people; takes and raises `errors_of`."""
    return [
        summarise(
            of_everybody,
            joint_names=group.joints.names,
            keypoints=group.keypoints,
            schedule=schedule.name,
            adam_rate=schedule.phases[-1].optimiser.learning_rate,
        )
        for schedule, of_everybody in zip(
            schedules, errors_of(adapter, group, schedules, progress=progress), strict=True
        )
    ]


def errors_of(
    adapter: Adapter,
    group: Group,
    schedules: Sequence[Schedule],
    *,
    after: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[list[PersonErrors]]:
    """For every schedule everybody's errors `after` some numbers of steps; None is every number.

    `adapter` must know the keypoints of `group`; `progress` is called with the number of people
    done. Raises ValueError where there are no people, or one who cannot be adapted to.
    """
    errors: list[list[PersonErrors]] = [[] for _ in schedules]
    done = 0
    for subjects in group.batches:
        try:
            adapted = adapter.adapt(subjects, schedules)
        except ValueError as error:
            raise ValueError(f"of the people from number {done} on, {error}") from error
        for schedule, courses, so_far in zip(schedules, adapted, errors, strict=True):
            numbers = range(schedule.max_steps + 1) if after is None else after
            so_far += people_errors(
                courses, subjects, adapter.objective, group.joints, after=numbers
            )
        done += len(subjects.truth.joints)
        if progress is not None:
            progress(done)
    if not done:
        raise ValueError("there is nobody to evaluate on")
    return errors
