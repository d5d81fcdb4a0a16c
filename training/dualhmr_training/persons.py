"""Whatever has the person axis first in all its tensors: people, batches, samples."""

from typing import TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor

T = TypeVar("T")


def some_of(persons: T, which: slice) -> T:
    """Some of the persons."""
    part: T = pytree.tree_map_only(Tensor, lambda leaf: leaf[which], persons)
    return part


def to_device(persons: T, device: torch.device) -> T:
    """The same persons, with their tensors on `device`."""
    moved: T = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), persons)
    return moved
