"""What a reproduction found, as plain values: for tables, for plots, and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr_benchmarks.claims.experiments.outcomes import Outcome


@dataclass(frozen=True)
class Spread:
    """A number for every seed."""

    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """A row of the paper's table and of ours."""

    label: str
    measured: dict[str, Spread]
    """By measure, see `dualhmr_training.evaluation.report.MEASURES`; empty with a `note`."""
    paper: dict[str, float]
    """The paper's own numbers, as far as it has them."""
    note: str = ""
    """Why there is no number: what ended the training."""


@dataclass(frozen=True)
class Difference:
    """One method minus another on the same people, paired person by person."""

    label: str
    measure: str
    mean: float
    low: float
    high: float
    """The 95% confidence interval over people, each person's difference averaged over seeds."""
    by_seed: tuple[float, ...]
    paper: float | None
    """The same difference in the paper, as far as it has it."""


@dataclass(frozen=True)
class Report:
    """One of the paper's tables or figures, in miniature."""

    name: str
    title: str
    says: str
    """What the paper says, in a sentence or two."""
    comparable: str
    """What of the paper's numbers and ours can be compared."""
    facts: dict[str, str]
    """Budget, seeds, people, keypoints, commit, command: what running it again takes."""
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    trainings: tuple[dict[str, str], ...]
    """Recipe, seed, folder and commit of every training that is behind it."""


LOWER, HIGHER, NOT_SHOWN = "lower", "higher", "no difference shown"
_SIGNS = {LOWER: -1, HIGHER: 1}
_RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """Means over people with their 95% confidence intervals, (...) each."""

    mean: Array
    low: Array
    high: Array


def spread(outcomes: Sequence[Outcome], measure: str, step: int) -> Spread:
    """Means of a measure over people, seed by seed.

    `step` is an index into `Outcome.after`: 0 for the first, -1 for the last number of steps. Who
    has no number, for lack of keypoints, is left out. ValueError where nobody has one or there is
    no seed; KeyError for an unknown measure.
    """
    if not outcomes:
        raise ValueError(f"no seed to take the mean {measure} of")
    return Spread(tuple(_mean(each.measures[measure][:, step], measure) for each in outcomes))


def mean_and_deviation(spread: Spread) -> tuple[float, float | None]:
    """Mean and sample standard deviation over seeds; one seed has no deviation."""
    values = np.array(spread.by_seed)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def difference(
    label: str,
    of: Sequence[Outcome],
    against: Sequence[Outcome],
    measure: str,
    *,
    of_step: int = -1,
    against_step: int = -1,
    paper: float | None = None,
) -> Difference:
    """`of` minus `against`, outcomes of the same people with the same seeds in the same order.

    Steps are as in `spread`. Who has no number in one of them is left out of both. ValueError
    where numbers of seeds or people differ or where fewer than two people are left: one has no
    interval; KeyError for an unknown measure.
    """
    pairs = paired(
        [each.measures[measure][:, of_step] for each in of],
        [each.measures[measure][:, against_step] for each in against],
    )
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    mean, low, high = (float(each) for each in over_people(pairs.mean(0)))
    return Difference(label, measure, mean, low, high, tuple(pairs.mean(1).tolist()), paper)


def paired(of: Sequence[Array], against: Sequence[Array]) -> Array:
    """Differences (seeds, N, ...) from errors (N, ...) of N people for each seed.

    ValueError where there is no seed, or where seeds or people are not equally many.
    """
    if len(of) != len(against):
        raise ValueError(f"{len(of)} seeds cannot be paired with {len(against)}")
    if not of:
        raise ValueError("no seed to take differences of")
    people = sorted({len(errors) for errors in (*of, *against)})
    if len(people) > 1:
        raise ValueError(f"{' or '.join(map(str, people))} people cannot be paired")
    return np.stack(of) - np.stack(against)


def over_people(values: Array) -> Interval:
    """Mean of `values` (N, ...) over N people, at least two, with its bootstrap interval.

    The interval is that of the people's choice alone: the seeds are those there are. ValueError
    for fewer people. The resamples are always the same, so that a report comes out the same.
    """
    people = len(values)
    if people < 2:
        raise ValueError(f"{people} people with a number, expected at least 2 for an interval")
    # How often each person is drawn says all about a resample; the product is then its mean.
    drawn = np.random.default_rng(0).multinomial(
        people, np.full(people, 1 / people), size=_RESAMPLES
    )
    means = np.tensordot(drawn / people, values, axes=1)
    low, high = np.percentile(means, _PERCENTILES, axis=0)
    return Interval(values.mean(0), low, high)


def verdict(difference: Difference) -> str:
    """`LOWER` or `HIGHER` where the interval and every seed are on that side of zero.

    Of methods that differ by the luck of training alone S seeds agree one time in 2**(S - 1),
    however narrow the interval: it is of people, not of seeds.
    """
    ends = (difference.low, difference.high, *difference.by_seed)
    if max(ends) < 0:
        return LOWER
    return HIGHER if min(ends) > 0 else NOT_SHOWN


def agrees(difference: Difference) -> str:
    """Whether it has the sign of the paper's: `yes`, `no`, `not shown`; empty without a paper's."""
    if difference.paper is None:
        return ""
    found = verdict(difference)
    if found == NOT_SHOWN:
        return "not shown"
    return "yes" if _SIGNS[found] == np.sign(difference.paper) else "no"


def _mean(errors: Array, measure: str) -> float:
    known = errors[~np.isnan(errors)]
    if not known.size:
        raise ValueError(f"none of {len(errors)} people has a {measure}")
    return float(known.mean())
