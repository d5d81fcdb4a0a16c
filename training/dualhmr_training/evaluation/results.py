"""Errors of many people as plain values: what is reported, written to JSON and plotted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualhmr_training.evaluation.errors import Errors, PersonErrors


class Measure(NamedTuple):
    """How a measure is shown."""

    title: str
    digits: int
    scale: float = 1.0


MEASURES = {
    "mpjpe_mm": Measure("MPJPE, mm", 1),
    "pa_mpjpe_mm": Measure("PA-MPJPE, mm", 1),
    "pve_mm": Measure("PVE, mm", 1),
    "true_2d_percent": Measure("2D from true, % of box", 2),
    "given_2d_percent": Measure("2D from given, % of box", 2),
    "true_2d_loss": Measure("2D loss, 1e-3", 2, 1e3),
}
"""By name, those that people compare; `PersonErrors.measures` also has the schedule's objective."""
_OF_KEYPOINTS = ("true_2d_percent", "given_2d_percent")


@dataclass(frozen=True)
class Curve:
    """One measure after 0, 1, ..., T steps, over people; one person has no standard errors."""

    mean: tuple[float, ...]
    standard_error: tuple[float, ...] | None
    change_standard_error: tuple[float, ...] | None
    """Of the mean difference from step 0: the same people, so it is smaller."""


@dataclass(frozen=True)
class JointChange:
    """Mean errors of one joint in millimetres, at the start and after all steps."""

    mpjpe_before: float
    mpjpe_after: float
    pa_mpjpe_before: float
    pa_mpjpe_after: float


@dataclass(frozen=True)
class Evaluation:
    """One schedule on one group of people."""

    keypoints: str
    """Where the keypoints given came from."""
    schedule: str
    adam_rate: float
    max_steps: int
    people: int
    mean_steps: float
    """Taken until adaptation stopped."""
    stop_reasons: dict[str, int]
    """How many people stopped for each reason."""
    measures: dict[str, Curve]
    joints: dict[str, JointChange]
    """By name, those that count."""


@dataclass(frozen=True)
class Report:
    """What was evaluated on what. Errors after a step are those of the best iterate so far."""

    bundle: str
    body: str
    engine: str
    data: str
    options: dict[str, str]
    """Of the data: which file, which part, which seed."""
    evaluations: tuple[Evaluation, ...]


def summarise(
    people: Sequence[PersonErrors],
    *,
    joint_names: Sequence[str],
    keypoints: str,
    schedule: str,
    adam_rate: float,
) -> Evaluation:
    """Means and standard errors over `people`, at least one; a measure is there if all have it.

    Errors of keypoints are those of the people who were given any.
    """
    shared = [name for name in people[0].measures if all(name in each.measures for each in people)]
    errors = {name: np.stack([each.measures[name] for each in people]) for name in shared}
    for name in set(errors) & set(_OF_KEYPOINTS):
        errors[name] = errors[name][~np.isnan(errors[name]).all(1)]
    joints = [
        np.mean([getattr(each, kind)[[0, -1]] for each in people], axis=0).T.tolist()
        for kind in ("joints_mm", "aligned_joints_mm")
    ]
    return Evaluation(
        keypoints=keypoints,
        schedule=schedule,
        adam_rate=adam_rate,
        max_steps=len(people[0].joints_mm) - 1,
        people=len(people),
        mean_steps=float(np.mean([each.steps for each in people])),
        stop_reasons=dict(sorted(Counter(each.stop_reason for each in people).items())),
        measures={name: _curve(of_people) for name, of_people in errors.items() if len(of_people)},
        joints={
            name: JointChange(*plain, *aligned)
            for name, plain, aligned in zip(joint_names, *joints, strict=True)
        },
    )


def _curve(errors: Errors) -> Curve:
    """Errors (N, T + 1) of N people."""
    mean = tuple(errors.mean(0).tolist())
    if len(errors) == 1:
        return Curve(mean, None, None)
    return Curve(mean, _standard_error(errors), _standard_error(errors - errors[:, :1]))


def _standard_error(errors: Errors) -> tuple[float, ...]:
    return tuple((errors.std(0, ddof=1) / len(errors) ** 0.5).tolist())
