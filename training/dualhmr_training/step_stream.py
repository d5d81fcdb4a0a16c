"""Batches by their step, from an iterator that makes them one after the other."""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Share(NamedTuple):
    """One process's part of every batch."""

    batch: int
    """Persons in the whole batch."""
    process: int
    processes: int

    @property
    def own(self) -> slice:
        """Which persons of the whole batch."""
        return slice(self.process, None, self.processes)


class StepStream(Generic[T]):
    """The batch of any step; those of steps that follow each other come from one iterator."""

    def __init__(self, opened: Callable[[int, Share], Iterator[T]]) -> None:
        """`opened` gives the batches from a step on."""
        self._opened = opened
        self._batches: Iterator[T] | None = None
        self._expected: tuple[int, Share] | None = None

    def batch(self, step: int, share: Share) -> T:
        """The share of a step's batch."""
        if self._batches is None or self._expected != (step, share):
            self._batches = self._opened(step, share)
        self._expected = (step + 1, share)
        return next(self._batches)
