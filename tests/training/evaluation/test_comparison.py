import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dualhmr_training.evaluation.bootstrap import (
    FEWEST_CLIPS,
    clip_numbers,
    paired_bootstrap,
    standard_error,
)
from dualhmr_training.evaluation.comparison import category_table, difference_table
from dualhmr_training.evaluation.errors import PersonErrors
from dualhmr_training.evaluation.report import EvaluationReport, summarise

RNG = np.random.default_rng(0)
CLIPS = [f"clip {i // 10}" for i in range(200)]


def test_a_difference_and_its_interval() -> None:
    first = RNG.normal(50, 10, 200)
    second = first - 2 + RNG.normal(0, 1, 200)
    found = paired_bootstrap(first, second, CLIPS)
    assert found is not None
    assert found.mean == pytest.approx((second - first).mean())
    assert found.low < found.mean < found.high
    assert found.is_significant
    assert found.p_value < 0.01
    back = paired_bootstrap(second, first, CLIPS)
    assert back is not None
    assert back.mean == pytest.approx(-found.mean)


def test_intervals_of_independent_people_are_those_of_a_t_test() -> None:
    first, second = RNG.normal(0, 1, 400), RNG.normal(0.1, 1, 400)
    found = paired_bootstrap(first, second, [str(i) for i in range(400)])
    assert found is not None
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_people_of_a_clip_are_not_counted_as_independent() -> None:
    of_clip = RNG.normal(0, 1, 20).repeat(10)
    zero = np.zeros(200)
    by_clip = paired_bootstrap(zero, of_clip, CLIPS)
    by_person = paired_bootstrap(zero, of_clip, [str(i) for i in range(200)])
    assert by_clip is not None
    assert by_person is not None
    wider = (by_clip.high - by_clip.low) / (by_person.high - by_person.low)
    assert wider == pytest.approx(10**0.5, rel=0.15)


def test_who_lacks_a_measure_does_not_count() -> None:
    first, second = np.zeros(200), np.ones(200)
    second[::7] = np.nan
    found = paired_bootstrap(first, second, CLIPS)
    assert found is not None
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_few_clips_say_nothing() -> None:
    assert paired_bootstrap([0.0] * 4, [1.0] * 4, list("abcd")) is None
    assert paired_bootstrap([], [], []) is None
    assert len("abcd") < FEWEST_CLIPS
    with pytest.raises(ValueError, match=r"errors are \(2,\), of 3 people"):
        paired_bootstrap([1, 2], [1, 2], list("abc"))


def test_people_without_a_clip_are_alone() -> None:
    assert clip_numbers(["b", "", "a", "b", ""]).tolist() == [1, 2, 0, 1, 3]


def test_standard_errors_over_clips() -> None:
    values = RNG.normal(0, 1, (50, 2))
    alone = standard_error(values, [""] * 50)
    np.testing.assert_allclose(alone, values.std(0, ddof=1) / 50**0.5)
    # Everybody twice in a clip of two is no new information.
    twice = standard_error(values.repeat(2, axis=0), [str(i // 2) for i in range(100)])
    np.testing.assert_allclose(twice, alone)


def report(offset: float = 0.0, *, name: str = "new", people: int = 60) -> EvaluationReport:
    """People of ten clips and two categories, the first of whom stand."""
    rng = np.random.default_rng(3)
    persons = []
    for number in range(people):
        joints = np.array([[50.0], [40.0 + offset]]) + rng.normal(0, 1, (2, 1))
        stands = number % 3 == 0
        measures = {
            "mpjpe_mm": joints[:, 0],
            "pa_mpjpe_mm": joints[:, 0] / 2,
            "lean_degrees": np.array([9.0, 7.0]) if stands else np.full(2, math.nan),
        }
        persons.append(
            PersonErrors(
                1, "max_steps", measures, joints, joints / 2,
                clip=f"clip {number % 10}", category="standing" if stands else "lying",
            )
        )  # fmt: skip
    summary = summarise(
        persons, joint_names=["head"], keypoints="noise 0", schedule="eft", adam_rate=1e-4
    )
    return EvaluationReport(name, "a body", "none", "synthetic", {}, (summary,))


def test_categories_have_rows_of_their_own() -> None:
    table = category_table(report())
    assert table is not None
    header, _, first, second = table.splitlines()
    assert "lean of standing" in header
    assert "| lying | 40 | 10 |" in first
    assert "| standing | 20 | 10 |" in second
    assert "| 7.0 |" in second
    assert "7.0" not in first


def test_differences_within_a_report_and_between_two() -> None:
    within = difference_table(report())
    assert within is not None
    assert "eft 0.0001 - none" in within
    assert "-10." in within
    between = difference_table(report(-3.0), report(name="old"))
    assert between is not None
    assert "new - old | -3.0 [-3.0, -3.0]*" in between


def test_other_people_are_refused() -> None:
    with pytest.raises(ValueError, match="the other report is of other people; evaluate both"):
        difference_table(report(), report(people=61))
    (evaluation,) = report().evaluations
    others = replace(report(), evaluations=(replace(evaluation, keypoints="noise 1"),))
    with pytest.raises(ValueError, match="no evaluation of new has keypoints and a schedule"):
        difference_table(report(), others)


def test_without_categories_and_clips_there_are_no_tables() -> None:
    (evaluation,) = report().evaluations
    assert evaluation.persons is not None
    nobody = replace(evaluation.persons, clips=("",) * 60)
    bare = replace(report(), evaluations=(replace(evaluation, categories={}, persons=nobody),))
    assert category_table(bare) is None
    assert difference_table(bare) is None
