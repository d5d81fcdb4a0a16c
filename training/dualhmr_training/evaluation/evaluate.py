"""Recovers people as a user would, and measures how far off they are."""

from collections.abc import Callable, Iterable, Sequence

from dualhmr import Recoverer, Recovery
from dualhmr.adaptation import Schedule
from dualhmr_training.evaluation.errors import PersonErrors, person_errors
from dualhmr_training.evaluation.results import Evaluation, summarise
from dualhmr_training.evaluation.subjects import ComparedJoints, Subject

Progress = Callable[[int], None]


def evaluate(
    recoverer: Recoverer,
    subjects: Iterable[Subject],
    schedules: Sequence[Schedule],
    joints: ComparedJoints,
    *,
    keypoints: str,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """An evaluation for every schedule, all on the same people.

    `keypoints` says where those of `subjects` come from; `progress` is called with the number of
    people done. Raises ValueError where there are no people, or one who cannot be recovered.
    """
    errors: list[list[PersonErrors]] = [[] for _ in schedules]
    for done, subject in enumerate(subjects, start=1):
        for schedule, so_far in zip(schedules, errors, strict=True):
            recovery = _recover(recoverer, subject, schedule)
            so_far.append(
                person_errors(recovery, subject.truth, joints, max_steps=schedule.max_steps)
            )
        if progress is not None:
            progress(done)
    if not all(errors):
        raise ValueError("there is nobody to evaluate on")
    return [
        summarise(
            of_everybody,
            joint_names=joints.names,
            keypoints=keypoints,
            schedule=schedule.name,
            adam_rate=schedule.phases[-1].optimiser.learning_rate,
        )
        for schedule, of_everybody in zip(schedules, errors, strict=True)
    ]


def _recover(recoverer: Recoverer, subject: Subject, schedule: Schedule) -> Recovery:
    return recoverer.recover(
        subject.image,
        subject.keypoints,
        keypoint_set=subject.keypoint_set,
        schedule=schedule,
        focal_length=subject.focal_length,
        principal_point=subject.principal_point,
    )
