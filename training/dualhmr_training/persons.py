"""Whatever has the person axis first in all its tensors: people, batches, samples."""

from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor

T = TypeVar("T")


def some_of(persons: T, which: slice | Tensor) -> T:
    """Some of the persons, by a slice or by their numbers (M,)."""
    part: T = pytree.tree_map_only(Tensor, lambda leaf: leaf[which], persons)
    return part


def in_parts(persons: T, at_once: int) -> Iterator[T]:
    """All of the persons in their order, `at_once` at a time; fewer in the end."""
    count = next(len(leaf) for leaf in pytree.tree_leaves(persons) if isinstance(leaf, Tensor))
    for start in range(0, count, at_once):
        yield some_of(persons, slice(start, start + at_once))


def to_device(persons: T, device: torch.device) -> T:
    """The same persons, with their tensors on `device`."""
    moved: T = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), persons)
    return moved
