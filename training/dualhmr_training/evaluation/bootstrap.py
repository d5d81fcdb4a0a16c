"""Whether one network or schedule is better than another: differences on the same people.

People in poses of one clip are alike, so clips are drawn again, not people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 5000
FEWEST_CLIPS = 5
"""With fewer, draws of clips say too little about other clips."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean over people of second - first, and how sure it is."""

    mean: float
    low: float
    high: float
    """An interval of 95%."""
    p_value: float
    """Two-sided: how often draws have the other sign, at least 1 / draws."""

    @property
    def is_significant(self) -> bool:
        """Whether the interval has no zero in it."""
        return self.low > 0 or self.high < 0


def clip_numbers(clips: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for every clip (N,); people without a clip, an empty text, each have their own."""
    named, numbers = np.unique(np.array(clips, str), return_inverse=True)
    alone = np.array(clips, str) == ""
    numbers = numbers.reshape(-1).astype(np.int64)
    numbers[alone] = len(named) + np.arange(alone.sum())
    return np.unique(numbers, return_inverse=True)[1].reshape(-1).astype(np.int64)


def paired_bootstrap(
    first: npt.ArrayLike, second: npt.ArrayLike, clips: Sequence[str], *, seed: int = 0
) -> PairedDifference | None:
    """Compares errors (N,) of the same N people, by drawing whole clips again 5,000 times.

    A mean weighs people alike, so long clips count more. People with NaN are left out. None with
    fewer than two clips, which say nothing about others. Raises ValueError for other lengths.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if difference.shape != (len(clips),):
        raise ValueError(f"errors are {difference.shape}, of {len(clips)} people with clips")
    there = ~np.isnan(difference)
    difference, numbers = difference[there], clip_numbers(clips)[there]
    numbers = np.unique(numbers, return_inverse=True)[1].reshape(-1)
    count = int(numbers.max()) + 1 if len(numbers) else 0
    if count < FEWEST_CLIPS:
        return None
    sums, sizes = np.bincount(numbers, difference), np.bincount(numbers)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, (0.025, 0.975))
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return PairedDifference(
        float(difference.mean()), float(low), float(high), float(min(1, max(2 * tail, 1 / DRAWS)))
    )


def standard_error(
    values: npt.NDArray[np.float64], clips: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Of the means (S,) of values (N, S) of people in clips: clips are independent, people not.

    With every person in a clip of their own it is the usual one. At least two clips.
    """
    numbers = clip_numbers(clips)
    count = int(numbers.max()) + 1
    centred = values - values.mean(0)
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, numbers, centred)
    return np.sqrt((sums**2).sum(0) * count / (count - 1)) / len(values)
