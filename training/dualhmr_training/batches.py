"""Batches of persons: what a training step gets, and tools for tuples of per-person tensors."""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.objective.objective import Evidence

T = TypeVar("T")


class Batch(NamedTuple):
    """N persons. Every tensor has the person axis first."""

    inputs: dict[str, Tensor]
    """Inputs of the networks, by name."""
    evidence: Evidence
    """What is known at test time, without the pseudo mesh: keypoints as detected."""
    truth: Evidence
    """What the outer loss compares with."""


def some_of(persons: T, which: slice | Tensor) -> T:
    """Selects persons from a nested tuple or dict of tensors with the person axis first.

    `which` is a slice or an index tensor (M,).
    """
    part: T = pytree.tree_map_only(Tensor, lambda leaf: leaf[which], persons)
    return part


def in_parts(persons: T, at_once: int) -> Iterator[T]:
    """Splits persons, as in `some_of`, into parts of `at_once`; the last part may be smaller."""
    count = next(len(leaf) for leaf in pytree.tree_leaves(persons) if isinstance(leaf, Tensor))
    for start in range(0, count, at_once):
        yield some_of(persons, slice(start, start + at_once))


def to_device(persons: T, device: torch.device) -> T:
    """Moves all tensors of a nested tuple or dict to `device`."""
    moved: T = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), persons)
    return moved


class Share(NamedTuple):
    """The part of every batch that one process works on."""

    batch: int
    """Persons in the whole batch."""
    process: int
    processes: int

    @property
    def own(self) -> slice:
        """Selects the process's persons from the whole batch."""
        return slice(self.process, None, self.processes)


class StreamedBatches(Generic[T]):
    """Training batches from iterators that yield the persons of one step after another.

    Consecutive steps continue one iterator; any other step opens a new one.
    """

    def __init__(
        self,
        open_at: Callable[[int, Share], Iterator[T]],
        to_batch: Callable[[T], Batch],
        device: torch.device,
    ) -> None:
        """`open_at` returns an iterator that begins with the process's share of the given step.

        `to_batch` gets what the iterator yields, after it was moved to `device`.
        """
        self._open_at, self._to_batch, self._device = open_at, to_batch, device
        self._persons: Iterator[T] | None = None
        self._expected: tuple[int, Share] | None = None

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` persons of a step, on the device."""
        share = Share(count, process, processes)
        if self._persons is None or self._expected != (step, share):
            self._persons = self._open_at(step, share)
        self._expected = (step + 1, share)
        return self._to_batch(to_device(next(self._persons), self._device))
