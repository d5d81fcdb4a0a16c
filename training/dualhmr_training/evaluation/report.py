"""Errors of many people as plain values: what is reported, written to JSON and plotted."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.files import markdown_table
from dualhmr.plain_data import from_plain
from dualhmr.untrusted import brief, one_value_error, read_json
from dualhmr_training.evaluation.bootstrap import clip_numbers, standard_error
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
    "pve_centred_mm": Measure("PVE centred, mm", 1),
    "depth_flips_percent": Measure("depth flips, %", 1),
    "lean_degrees": Measure("lean of standing, °", 1),
    "foot_degrees": Measure("feet, °", 1),
    "true_2d_percent": Measure("2D from true, % of box", 2),
    "given_2d_percent": Measure("2D from given, % of box", 2),
    "true_2d_loss": Measure("2D loss, 1e-3", 2, 1e3),
}
"""By name, those that people compare; `PersonErrors.measures` also has the schedule's objective."""
_OF_SOME = (
    *("true_2d_percent", "given_2d_percent"),
    *("depth_flips_percent", "lean_degrees", "true_lean_degrees"),
)
"""Measures that people without keypoints, without limbs in depth, or who do not stand lack: NaN."""
BY_CATEGORY = (
    *("mpjpe_mm", "pa_mpjpe_mm", "pve_centred_mm"),
    *("depth_flips_percent", "true_lean_degrees", "lean_degrees", "foot_degrees"),
)
COMPARED = ("mpjpe_mm", "pa_mpjpe_mm", "depth_flips_percent", "lean_degrees", "foot_degrees")
"""Those of which everybody's are kept, to compare networks on the same people."""


@dataclass(frozen=True)
class ErrorCurve:
    """One measure after 0, 1, ..., T steps, over people; those of one clip have no standard errors.

    Clips count as independent. Where poses are of no clips, people do.
    """

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
class CategoryErrors:
    """Means over the people of one category of pose."""

    people: int
    clips: int
    measures: dict[str, tuple[float, float]]
    """Those of `BY_CATEGORY` that somebody has, at the start and after all steps."""


@dataclass(frozen=True)
class PeopleRecord:
    """What comparing with another evaluation needs of everybody."""

    clips: tuple[str, ...]
    categories: tuple[str, ...]
    before: dict[str, tuple[float | None, ...]]
    after: dict[str, tuple[float | None, ...]]
    """Measures by name; None for people who lack one."""


@dataclass(frozen=True)
class Evaluation:
    """One schedule on one group of people."""

    keypoints: str
    """Where the keypoints of the evidence come from."""
    schedule: str
    adam_rate: float
    max_steps: int
    people: int
    mean_steps: float
    """Taken until adaptation stopped."""
    stop_reasons: dict[str, int]
    """How many people stopped for each reason."""
    measures: dict[str, ErrorCurve]
    joints: dict[str, JointChange]
    """By name, those that count."""
    categories: dict[str, CategoryErrors] = field(default_factory=dict)
    """By name; empty where poses have none."""
    persons: PeopleRecord | None = None
    """None in reports that were written before there was one."""


@dataclass(frozen=True)
class EvaluationReport:
    """What was evaluated on what. Errors after a step are those of what is returned then."""

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

    Errors of keypoints are means over the people with keypoints.
    """
    shared = [name for name in people[0].measures if all(name in each.measures for each in people)]
    errors = {name: np.stack([each.measures[name] for each in people]) for name in shared}
    clips = tuple(each.clip for each in people)
    categories = tuple(each.category for each in people)
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
        measures={
            name: _curve(errors[name][there], [clips[row] for row in there])
            for name in errors
            if len(there := _who_has(errors, name))
        },
        joints={
            name: JointChange(*plain, *aligned)
            for name, plain, aligned in zip(joint_names, *joints, strict=True)
        },
        categories=_by_category(errors, clips, categories),
        persons=PeopleRecord(
            clips,
            categories,
            *({name: _plain(errors[name][:, step]) for name in COMPARED if name in errors}
              for step in (0, -1)),
        ),
    )  # fmt: skip


def _who_has(errors: Mapping[str, Errors], name: str) -> npt.NDArray[np.intp]:
    """Rows of the people who have a measure."""
    lacking = np.isnan(errors[name]).all(1) & (name in _OF_SOME)
    return np.flatnonzero(~lacking)


def _by_category(
    errors: Mapping[str, Errors], clips: Sequence[str], categories: Sequence[str]
) -> dict[str, CategoryErrors]:
    """The largest category first."""
    found = {}
    for category, count in Counter(filter(None, categories)).most_common():
        own = np.array([each == category for each in categories])
        measures = {}
        for name in BY_CATEGORY:
            values = errors[name][own] if name in errors else np.zeros((0, 1))
            values = values[~np.isnan(values).all(1)]
            if len(values):
                measures[name] = (float(values[:, 0].mean()), float(values[:, -1].mean()))
        of_clips = {clip for clip, is_own in zip(clips, own, strict=True) if is_own}
        found[category] = CategoryErrors(count, len(of_clips), measures)
    return found


def _plain(values: Errors) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else round(value, 4) for value in values.tolist())


def _curve(errors: Errors, clips: Sequence[str]) -> ErrorCurve:
    """Errors (N, T + 1) of N people."""
    mean = tuple(errors.mean(0).tolist())
    if clip_numbers(clips).max() == 0:
        return ErrorCurve(mean, None, None)
    change = standard_error(errors - errors[:, :1], clips)
    return ErrorCurve(mean, tuple(standard_error(errors, clips).tolist()), tuple(change.tolist()))


NO_ADAPTATION = "none"


def evaluation_table(report: EvaluationReport, *, every_step: bool = False) -> str:
    """Mean errors with standard errors over clips, or over people without clips, in Markdown.

    For every group of people a row before adaptation, and one for each schedule after it, with the
    mean number of steps taken. With `every_step` each schedule has a row for every step instead.
    """
    shown = [name for name in MEASURES if name in report.evaluations[0].measures]
    titles = ["keypoints", "schedule", "Adam's rate", "steps"]
    titles += [MEASURES[name].title for name in shown]
    rows = [titles]
    before: set[str] = set()
    for evaluation in report.evaluations:
        if every_step:
            rows += _every_step(evaluation, shown)
            continue
        if evaluation.keypoints not in before:
            before.add(evaluation.keypoints)
            rows.append(
                [evaluation.keypoints, NO_ADAPTATION, "", "0", *_cells(evaluation, shown, 0)]
            )
        rows.append(
            [*_names(evaluation), f"{evaluation.mean_steps:.1f}", *_cells(evaluation, shown, -1)]
        )
    return markdown_table(rows)


def read_evaluation_report(path: str | os.PathLike[str]) -> EvaluationReport:
    """What `dualhmr evaluate --json` wrote. ValueError where it is not that."""
    plain = read_json(path)
    with one_value_error(path, "not the JSON of an evaluation"):
        report = from_plain(EvaluationReport, plain)
        _check_lengths(report)
        return report


def _check_lengths(report: EvaluationReport) -> None:
    if not report.evaluations or not all(each.measures for each in report.evaluations):
        raise ValueError("it has no evaluations")
    shown = MEASURES.keys() & report.evaluations[0].measures.keys()
    for evaluation in report.evaluations:
        if not shown <= evaluation.measures.keys():
            raise ValueError(f"the measures of {brief(evaluation.schedule)} are others")
        for name, curve in evaluation.measures.items():
            for values in (curve.mean, curve.standard_error, curve.change_standard_error):
                if values is not None and len(values) != evaluation.max_steps + 1:
                    raise ValueError(f"{brief(name)} has {len(values)} steps")


def _every_step(evaluation: Evaluation, shown: list[str]) -> Iterator[list[str]]:
    for step in range(evaluation.max_steps + 1):
        yield [*_names(evaluation), str(step), *_cells(evaluation, shown, step)]


def _names(evaluation: Evaluation) -> list[str]:
    return [evaluation.keypoints, evaluation.schedule, f"{evaluation.adam_rate:g}"]


def _cells(evaluation: Evaluation, shown: list[str], step: int) -> list[str]:
    return [_cell(name, evaluation.measures[name], step) for name in shown]


def _cell(name: str, curve: ErrorCurve, step: int) -> str:
    _, digits, scale = MEASURES[name]
    mean = f"{scale * curve.mean[step]:.{digits}f}"
    if curve.standard_error is None:
        return mean
    return f"{mean} ± {scale * curve.standard_error[step]:.{digits}f}"
