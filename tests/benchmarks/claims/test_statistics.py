import numpy as np
import pytest
from scipy import stats

from dualhmr_benchmarks.claims.experiments.evaluations import SeedErrors
from dualhmr_benchmarks.claims.reports.statistics import (
    PairedDifference,
    SeedMeans,
    agrees,
    over_people,
    paired,
    paired_difference,
    seed_means,
    verdict,
)

MEASURE = "pa_mpjpe_mm"


def outcome(*by_person: float, before: float = 100.0) -> SeedErrors:
    """One seed's people: `before` at the start, then these."""
    errors = np.array([[before, error] for error in by_person]).reshape(-1, 2)
    joints = errors[:, :, None]
    return SeedErrors(np.array([0.0, 14.0]), {MEASURE: errors}, joints, joints)


def shown(low: float, high: float, *by_seed: float, paper: float | None = None) -> PairedDifference:
    return PairedDifference("a - b", MEASURE, (low + high) / 2, low, high, by_seed, paper)


def test_spreads_by_hand() -> None:
    seeds = [outcome(10, 20, np.nan), outcome(30, 40, 50)]
    assert seed_means(seeds, MEASURE, -1) == SeedMeans((15, 40))
    assert seed_means(seeds, MEASURE, 0) == SeedMeans((100, 100))
    several, one = SeedMeans((1.0, 2.0, 3.0)), SeedMeans((5.0,))
    assert (several.mean, several.deviation) == (2, 1)
    assert (one.mean, one.deviation) == (5, None)


def test_what_has_no_mean() -> None:
    with pytest.raises(ValueError, match=f"no seed to take the mean {MEASURE} of"):
        seed_means([], MEASURE, -1)
    with pytest.raises(ValueError, match=f"none of 2 people has a {MEASURE}"):
        seed_means([outcome(np.nan, np.nan)], MEASURE, -1)


def test_differences_by_hand() -> None:
    of, against = [outcome(10, 20), outcome(12, 26)], [outcome(12, 24), outcome(16, 26)]
    # By person -2, -4 and -4, 0; resamples of the two people's means, -3 and -2.
    found = paired_difference("a - b", of, against, MEASURE, paper=-1.5)
    assert found == PairedDifference("a - b", MEASURE, -2.5, -3, -2, (-3, -2), -1.5)
    assert paired_difference("steps", of, of, MEASURE, against_step=0).by_seed == (-85, -81)


def test_who_has_no_number_is_left_out_of_both() -> None:
    of, against = [outcome(10, 20, 1000)], [outcome(12, 24, np.nan)]
    assert paired_difference("a - b", of, against, MEASURE).by_seed == (-3,)


@pytest.mark.parametrize("people", [30, 500])
def test_intervals_are_those_of_a_paired_t_test(people: int) -> None:
    rng = np.random.default_rng(5)
    before = rng.gamma(4, 20, people)
    after = before + rng.normal(-1, 5, people)
    found = paired_difference("after - before", [outcome(*after)], [outcome(*before)], MEASURE)
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    width = expected.high - expected.low
    assert found.mean == pytest.approx((after - before).mean())
    # Percentiles of a bootstrap know nothing of t's tails, some 5% at 30 people.
    tolerance = 0.08 * width if people == 30 else 0.04 * width
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    # 400 reports at once, as joints have them.
    found = over_people(np.random.default_rng(11).normal(3, 2, (60, 400)))
    covered = np.mean((found.low < 3) & (found.high > 3))
    assert 0.91 < covered < 0.98


def test_intervals_come_out_the_same_again() -> None:
    values = np.random.default_rng(2).normal(size=(20, 3))
    np.testing.assert_array_equal(over_people(values), over_people(values))


def test_people_of_one_clip_are_alike() -> None:
    rng = np.random.default_rng(4)
    clips = [f"clip_{person // 20}" for person in range(200)]
    of_clip = np.repeat(rng.normal(1, 2, 10), 20)
    values = of_clip + rng.normal(0, 0.1, 200)
    alike, independent = over_people(values, clips), over_people(values)
    assert alike.mean == independent.mean == pytest.approx(values.mean())
    # The standard error of ten means of clips, not of 200 people.
    deviation = values.reshape(10, 20).mean(1).std(ddof=1) / np.sqrt(10)
    assert alike.high - alike.low == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert alike.high - alike.low > 3 * (independent.high - independent.low)
    alone = over_people(values, [str(person) for person in range(200)])
    assert (alone.low, alone.high) == pytest.approx((independent.low, independent.high), rel=0.2)


def test_differences_are_over_clips_where_these_are_known() -> None:
    of = outcome(10, 20, np.nan)._replace(clips=("a", "b", "c"))
    found = paired_difference("a - b", [of], [outcome(12, 24, 26)], MEASURE)
    assert (found.mean, found.low, found.high, found.clips) == (-3, -4, -2, 2)
    assert paired_difference("a - b", [outcome(1, 2)], [outcome(2, 1)], MEASURE).clips == 0
    with pytest.raises(ValueError, match="1 clips with a number, expected at least 2"):
        paired_difference("a - b", [of._replace(clips=("a", "a", "c"))], [of], MEASURE)


def test_pairing_finds_what_is_small_beside_the_differences_of_people() -> None:
    rng = np.random.default_rng(3)
    people = rng.gamma(4, 20, 200)
    seeds = [people + rng.normal(0, 1, 200) for _ in range(3)]
    better = [outcome(*(each - 0.5 + rng.normal(0, 1, 200))) for each in seeds]
    found = paired_difference("better - base", better, [outcome(*each) for each in seeds], MEASURE)
    assert verdict(found) == "lower"
    assert found.high - found.low < 0.5
    # The same errors of people in another order are as far apart on average, and tell nothing.
    strangers = [outcome(*each[::-1]) for each in seeds]
    unpaired = paired_difference("better - base", better, strangers, MEASURE)
    assert unpaired.mean == pytest.approx(found.mean)
    assert verdict(unpaired) == "no difference shown"


def test_verdicts() -> None:
    assert verdict(shown(-2, -1, -1.5, -1.4)) == "lower"
    assert verdict(shown(1, 2, 1.5, 1.4)) == "higher"
    assert verdict(shown(-1, 2, 0.5, 0.4)) == "no difference shown"
    # People agree, seeds do not; a seed without any difference agrees with none.
    assert verdict(shown(-2, -1, -3.2, 0.2)) == "no difference shown"
    assert verdict(shown(1, 2, 3, 0)) == "no difference shown"


def test_agreement_with_the_paper() -> None:
    assert agrees(shown(-2, -1, -1.5, paper=-7.0)) == "yes"
    assert agrees(shown(-2, -1, -1.5, paper=7.0)) == "no"
    assert agrees(shown(-2, 1, -0.5, paper=-7.0)) == "not shown"
    assert agrees(shown(-2, -1, -1.5)) == ""


def test_what_cannot_be_paired() -> None:
    two, three = outcome(1, 2), outcome(1, 2, 3)
    with pytest.raises(ValueError, match="2 seeds cannot be paired with 1"):
        paired_difference("a - b", [two, two], [two], MEASURE)
    with pytest.raises(ValueError, match="2 or 3 people cannot be paired"):
        paired_difference("a - b", [two, two], [two, three], MEASURE)
    with pytest.raises(ValueError, match="no seed to take differences of"):
        paired([], [])
    with pytest.raises(ValueError, match="1 people with a number, expected at least 2"):
        paired_difference("a - b", [outcome(1, np.nan)], [two], MEASURE)
    with pytest.raises(ValueError, match="0 people with a number"):
        paired_difference("a - b", [outcome()], [outcome()], MEASURE)
