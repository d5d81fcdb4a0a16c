"""What the head's iterations go through, and the gradients of its matrices as outer products.

A matrix that acts n times, y_i = W x_i, has the gradient sum_i l_i x_i^T, where l_i is the loss's
gradient with respect to y_i. So 2 n vectors hold all of it, and the matrix itself is rarely built.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FC1_ESTIMATE,
    FC2,
    FC2_BIAS,
    ON_INPUT,
)


class Activations(NamedTuple):
    """What the n iterations of a head compute."""

    estimates: Tensor
    """(N, n + 1, E): e_0, the start, to e_n, the head's output."""
    hidden: tuple[Tensor, ...]
    """(N, n, H) each: h1 and h2 of every iteration, or nothing."""
    transition_transposed: Tensor | None = None
    """(N, E, E), what `TorchArithmetic` keeps for its way back: see there."""


class ActivationGradients(NamedTuple):
    """Gradients of the loss with respect to the activations of the n iterations."""

    estimates: Tensor
    """(N, n, E): with respect to e_1 to e_n."""
    hidden: tuple[Tensor, ...]
    """(N, n, H) each, of those layers that the head has."""


class OuterProducts(NamedTuple):
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

    def of_person(self, index: int) -> "OuterProducts":
        """Those of one person, with N = 1."""
        return OuterProducts(self.left[index : index + 1], self.right[index : index + 1])


MatrixGradients = dict[str, OuterProducts]
"""By the names of a head's matrices."""


def matrix_gradients(
    activations: Activations, gradients: ActivationGradients, head_input: Tensor
) -> MatrixGradients:
    """The gradients of a head's matrices, where `head_input` (N, 1, G + 1) is c and a 1.

    The input is the same in all iterations, so the gradient of its matrix is a single outer
    product: (sum_i g_h1_i) c^T, or without hidden layers (sum_i g_i) c^T.
    """
    first, *_ = *gradients.hidden, gradients.estimates
    on_input = OuterProducts(first.sum(1, keepdim=True), head_input)
    if not gradients.hidden:
        return {ON_INPUT: on_input}
    (hidden1, hidden2), (gradient1, gradient2) = activations.hidden, gradients.hidden
    ones = torch.ones_like(gradient1[..., :1])
    return {
        ON_INPUT: on_input,
        # Stored transposed, so left and right change places.
        FC1_ESTIMATE: OuterProducts(activations.estimates[:, :-1], gradient1),
        FC2: OuterProducts(gradient2, hidden1),
        FC2_BIAS: OuterProducts(ones, gradient2),
        DECODE: OuterProducts(gradients.estimates, hidden2),
        DECODE_BIAS: OuterProducts(ones, gradients.estimates),
    }


def squared_norm(gradients: MatrixGradients) -> Tensor:
    """The squared norm of all gradients together, (N,).

    A layer's vectors have one Gram matrix, however many gradients they are part of; those of equal
    length are computed together.
    """
    on_input = gradients[ON_INPUT]
    if FC2 not in gradients:
        return on_input.squared_norm()
    (estimates, gradient1), (gradient2, hidden1), (gradient, hidden2) = (
        gradients[name] for name in (FC1_ESTIMATE, FC2, DECODE)
    )
    of_gradient1, of_gradient2, of_hidden1, of_hidden2 = _grams(
        gradient1, gradient2, hidden1, hidden2
    )
    of_estimates, of_gradient = _grams(estimates, gradient)
    of_input = on_input.right.square().sum(-1, keepdim=True)
    # A bias reads a 1: the Gram matrix of its input is one everywhere.
    total = of_gradient1 * (of_estimates + of_input)
    total = total + of_gradient2 * (of_hidden1 + 1) + of_gradient * (of_hidden2 + 1)
    return total.sum((-2, -1))


def _grams(*vectors: Tensor) -> tuple[Tensor, ...]:
    """(N, n, n) each, of vectors (N, n, C)."""
    stacked = torch.stack(vectors, dim=1)
    return (stacked @ stacked.mT).unbind(1)


def nan_unless_finite(loss: Tensor, gradients: MatrixGradients) -> Tensor:
    """`loss` (N,), but NaN for persons one of whose gradients is not finite."""
    names = (FC1_ESTIMATE, FC2, DECODE) if FC2 in gradients else (ON_INPUT,)
    parts = [part for name in names for part in gradients[name]]
    numbers = torch.cat([part.flatten(1) for part in parts], dim=1)
    # A sum is one pass over memory, and 0 times infinity or NaN is NaN.
    return torch.addcmul(loss, numbers.sum(1), torch.zeros_like(loss))
