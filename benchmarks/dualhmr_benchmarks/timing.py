"""Times of things that are compared: taking turns, so that a busy machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")
_PAUSE = 0.02
"""Seconds for threads of the run before to go to sleep; some spin."""
Seconds = dict[Key, list[float]]


def interleaved(runs: Mapping[Key, Callable[[], object]], rounds: int) -> "Seconds[Key]":
    """Every run once a round, after one round to warm up; seconds by the runs' keys."""
    seconds: Seconds[Key] = {key: [] for key in runs}
    for number in range(1 + rounds):
        for key, run in runs.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            run()
            if number:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def milliseconds(seconds: list[float]) -> float:
    """The median."""
    return 1000 * statistics.median(seconds)
