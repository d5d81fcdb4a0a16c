"""Statistics of experiments: means seed by seed, and paired differences with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dualhmr_benchmarks.claims.experiments.evaluations import Array, SeedErrors
from dualhmr_training.evaluation.bootstrap import clip_numbers

LOWER, HIGHER, NOT_SHOWN = "lower", "higher", "no difference shown"
_RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class SeedMeans:
    """Means over people, one for each seed."""

    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.by_seed))

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over seeds; None for one seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class PairedDifference:
    """One method minus another on the same people, paired person by person."""

    label: str
    measure: str
    mean: float
    low: float
    high: float
    """The 95% confidence interval, each person's difference averaged over seeds: see `over_people`.
    """
    by_seed: tuple[float, ...]
    paper: float | None
    """The same difference in the paper, if it has both numbers."""
    clips: int = 0
    """How many clips the interval is over; 0 where it is over people, whose clips are unknown."""

    def scaled(self, factor: float) -> "PairedDifference":
        """In another unit."""
        return replace(
            self,
            mean=factor * self.mean,
            low=factor * self.low,
            high=factor * self.high,
            by_seed=tuple(factor * mean for mean in self.by_seed),
            paper=None if self.paper is None else factor * self.paper,
        )


class Interval(NamedTuple):
    """Means over people with their 95% confidence intervals, (...) each."""

    mean: Array
    low: Array
    high: Array


def seed_means(seeds: Sequence[SeedErrors], measure: str, step: int) -> SeedMeans:
    """Means of a measure over people, seed by seed.

    `step` is an index into `SeedErrors.steps`: 0 for the first, -1 for the last number of steps.
    People without keypoints have NaN, and are left out. ValueError if no person has a number or
    there is no seed; KeyError for an unknown measure.
    """
    if not seeds:
        raise ValueError(f"no seed to take the mean {measure} of")
    return SeedMeans(tuple(_mean(each.measures[measure][:, step], measure) for each in seeds))


def _mean(errors: Array, measure: str) -> float:
    numbers = errors[~np.isnan(errors)]
    if not numbers.size:
        raise ValueError(f"none of {len(errors)} people has a {measure}")
    return float(numbers.mean())


def paired_difference(
    label: str,
    of: Sequence[SeedErrors],
    against: Sequence[SeedErrors],
    measure: str,
    *,
    of_step: int = -1,
    against_step: int = -1,
    paper: float | None = None,
) -> PairedDifference:
    """`of` minus `against`, errors of the same people with the same seeds in the same order.

    Steps are as in `seed_means`. A person who has NaN in either is left out of both. ValueError if
    numbers of seeds or people differ or fewer than two people are left, as one has no interval;
    KeyError for an unknown measure.
    """
    differences = paired(
        [each.measures[measure][:, of_step] for each in of],
        [each.measures[measure][:, against_step] for each in against],
    )
    there = ~np.isnan(differences).any(0)
    differences = differences[:, there]
    clips = np.array(of[0].clips, str)[there].tolist() if of[0].clips else []
    mean, low, high = (float(each) for each in over_people(differences.mean(0), clips))
    by_seed = tuple(differences.mean(1).tolist())
    return PairedDifference(label, measure, mean, low, high, by_seed, paper, len(set(clips)))


def paired(of: Sequence[Array], against: Sequence[Array]) -> Array:
    """Differences (seeds, N, ...) of errors (N, ...) of N people, one array for each seed.

    ValueError if there is no seed, or numbers of seeds or people differ.
    """
    if len(of) != len(against):
        raise ValueError(f"{len(of)} seeds cannot be paired with {len(against)}")
    if not of:
        raise ValueError("no seed to take differences of")
    people = sorted({len(errors) for errors in (*of, *against)})
    if len(people) > 1:
        raise ValueError(f"{' or '.join(map(str, people))} people cannot be paired")
    return np.stack(of) - np.stack(against)


def over_people(values: Array, clips: Sequence[str] = ()) -> Interval:
    """Mean of `values` (N, ...) over N people, with its bootstrap interval.

    The interval is that of the choice of clips, since people in poses of one clip are alike; of
    people where no `clips` (N,) are known. The seeds are taken as they are. Resamples are the same
    every time, so that reports are reproducible. ValueError for fewer than two clips or people.
    """
    numbers = clip_numbers(clips or ("",) * len(values))
    count = len(set(numbers.tolist()))
    if count < 2:
        kind = "clips" if clips else "people"
        raise ValueError(f"{count} {kind} with a number, expected at least 2 for an interval")
    sums, sizes = np.zeros((count, *values.shape[1:])), np.bincount(numbers)
    np.add.at(sums, numbers, values)
    # A resample's mean depends only on how often it draws each clip. Counts are multinomial, so
    # that one matrix product computes the means of all resamples, for all joints at once.
    counts = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    weights = counts / (counts @ sizes)[:, None]
    low, high = np.percentile(np.tensordot(weights, sums, axes=1), _PERCENTILES, axis=0)
    return Interval(values.mean(0), low, high)


def verdict(difference: PairedDifference) -> str:
    """`LOWER` or `HIGHER` where the interval and every seed are on that side of zero.

    The interval is of clips or people, not of seeds: S seeds of methods that differ by the luck of
    training alone are on one side of zero one time in 2**(S - 1), however narrow it is.
    """
    ends = (difference.low, difference.high, *difference.by_seed)
    if max(ends) < 0:
        return LOWER
    return HIGHER if min(ends) > 0 else NOT_SHOWN


def agrees(difference: PairedDifference) -> str:
    """Whether it has the sign of the paper's: `yes`, `no`, `not shown`; empty without a paper's."""
    if difference.paper is None:
        return ""
    if verdict(difference) == NOT_SHOWN:
        return "not shown"
    return "yes" if difference.mean * difference.paper > 0 else "no"
