"""Gradients that are sums of a few outer products, and what can be known of them unbuilt.

A matrix that acts n times, y_i = W x_i, has the gradient sum_i l_i x_i^T, where l_i is the loss's
gradient with respect to y_i: 2 n vectors say all of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Outer(NamedTuple):
    """sum_i left_i right_i^T, a matrix (R, C) for each of N persons."""

    left: Tensor
    """(N, n, R)."""
    right: Tensor
    """(N, n, C)."""

    def dense(self) -> Tensor:
        """The matrix itself, (N, R, C)."""
        return self.left.mT @ self.right

    def squared_norm(self) -> Tensor:
        """Squared Frobenius norm, (N,): sum_ij (left_i . left_j) (right_i . right_j)."""
        grams = (self.left @ self.left.mT) * (self.right @ self.right.mT)
        return grams.sum((-2, -1))

    def total(self) -> Tensor:
        """The sum of the matrix's entries, (N,); not finite where one of left or right is not."""
        return (self.left.sum(-1) * self.right.sum(-1)).sum(-1)

    def of_person(self, index: int) -> "Outer":
        """One person's, with an axis of 1."""
        return Outer(self.left[index : index + 1], self.right[index : index + 1])


Gradients = dict[str, Outer]
"""By the names of a head's matrices."""


def squared_norm(gradients: Gradients) -> Tensor:
    """That of all of them together, (N,)."""
    return torch.stack([gradient.squared_norm() for gradient in gradients.values()]).sum(0)


def all_finite(gradients: Gradients) -> Tensor:
    """Whether they are, for each person: (N,) bool."""
    totals = [gradient.total() for gradient in gradients.values()]
    return torch.isfinite(torch.stack(totals)).all(0)
