"""Comparing nested tuples and dicts of tensors."""

import torch
import torch.utils._pytree as pytree
from torch import Tensor


def tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def equal(one: object, other: object) -> bool:
    """Whether all tensors are equal, in value and number."""
    return all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))
