"""Further tables of an evaluation: by category of pose, and differences with intervals."""

from collections.abc import Iterator, Sequence

import numpy as np

from dualhmr.files import markdown_table
from dualhmr_training.evaluation.bootstrap import paired_bootstrap
from dualhmr_training.evaluation.report import (
    BY_CATEGORY,
    COMPARED,
    MEASURES,
    NO_ADAPTATION,
    Evaluation,
    EvaluationReport,
    PeopleRecord,
)

_TITLES = {name: measure.title for name, measure in MEASURES.items()} | {
    "true_lean_degrees": "true lean, °"
}


def category_table(report: EvaluationReport) -> str | None:
    """Mean errors after adaptation for every category of pose, in Markdown; None without any."""
    evaluations = [each for each in report.evaluations if each.categories]
    shown = [
        name
        for name in BY_CATEGORY
        if any(name in each.measures for e in evaluations for each in e.categories.values())
    ]
    if not evaluations:
        return None
    rows = [
        ["keypoints", "schedule", "category", "people", "clips", *(_TITLES[name] for name in shown)]
    ]
    for evaluation in evaluations:
        for name, category in evaluation.categories.items():
            cells = [
                f"{category.measures[each][1]:.1f}" if each in category.measures else ""
                for each in shown
            ]
            counts = [str(category.people), str(category.clips)]
            rows.append([evaluation.keypoints, evaluation.schedule, name, *counts, *cells])
    return markdown_table(rows)


def difference_table(report: EvaluationReport, other: EvaluationReport | None = None) -> str | None:
    """Differences in the mean with intervals of 95%, by a bootstrap over clips; None without clips.

    Of every schedule from no adaptation and from the first schedule; or, with an `other` report of
    the same people, of every evaluation from the other's with the same keypoints and schedule.
    Raises ValueError where the other report is of other people, or has none in common.
    """
    pairs = list(_within(report) if other is None else _between(report, other))
    rows = []
    for titles, first, second, clips in pairs:
        shown = [name for name in COMPARED if name in first and name in second]
        cells = [_interval(first[name], second[name], clips) for name in shown]
        if any(cells):
            rows.append((titles, dict(zip(shown, cells, strict=True))))
    if not rows:
        return None
    names = [name for name in COMPARED if any(cells.get(name) for _, cells in rows)]
    table = [["keypoints", "difference", *(_TITLES[name] for name in names)]]
    table += [[*titles, *(cells.get(name, "") for name in names)] for titles, cells in rows]
    return markdown_table(table)


_Values = dict[str, tuple[float | None, ...]]
_Pair = tuple[tuple[str, str], _Values, _Values, tuple[str, ...]]


def _within(report: EvaluationReport) -> Iterator[_Pair]:
    first: dict[str, Evaluation] = {}
    for evaluation in report.evaluations:
        persons = evaluation.persons
        if persons is None:
            continue
        keypoints, name = evaluation.keypoints, _name(evaluation)
        yield (
            (keypoints, f"{name} - {NO_ADAPTATION}"),
            persons.before,
            persons.after,
            persons.clips,
        )
        before = first.setdefault(keypoints, evaluation)
        if before is not evaluation and before.persons is not None:
            titles = (keypoints, f"{name} - {_name(before)}")
            yield titles, before.persons.after, persons.after, persons.clips


def _between(report: EvaluationReport, other: EvaluationReport) -> Iterator[_Pair]:
    there = {(each.keypoints, each.schedule): each for each in other.evaluations}
    found = False
    for evaluation in report.evaluations:
        match = there.get((evaluation.keypoints, evaluation.schedule))
        if match is None:
            continue
        persons, others = _records(evaluation, match)
        found = True
        titles = (evaluation.keypoints, f"{_name(evaluation)}: {report.bundle} - {other.bundle}")
        yield titles, others.after, persons.after, persons.clips
    if not found:
        raise ValueError(
            f"no evaluation of {other.bundle} has keypoints and a schedule of these: "
            f"{', '.join(f'{keypoints}, {schedule}' for keypoints, schedule in there)}"
        )


def _records(evaluation: Evaluation, other: Evaluation) -> tuple[PeopleRecord, PeopleRecord]:
    persons, others = evaluation.persons, other.persons
    if persons is None or others is None or persons.clips != others.clips:
        raise ValueError(
            "the other report is of other people; evaluate both with the same --poses, --count and "
            "--seed"
        )
    return persons, others


def _name(evaluation: Evaluation) -> str:
    return f"{evaluation.schedule} {evaluation.adam_rate:g}"


def _interval(
    first: Sequence[float | None], second: Sequence[float | None], clips: Sequence[str]
) -> str:
    """The difference, its interval, and a star where it is significant; empty without clips."""
    if not all(clips):
        return ""
    before, after = (
        np.array([np.nan if value is None else value for value in values])
        for values in (first, second)
    )
    difference = paired_bootstrap(before, after, clips)
    if difference is None:
        return ""
    star = "*" if difference.is_significant else ""
    return f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]{star}"
