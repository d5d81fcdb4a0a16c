"""The head's rounds, forwards and backwards, in PyTorch; N persons have matrices of their own.

Row vectors: x (N, 1, C) through a matrix W (N, R, C) is x W^T (N, 1, R).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.structured.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    GIVEN,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.structured.outer import Gradients, Outer


class Rounds(NamedTuple):
    """What n rounds went through."""

    estimates: Tensor
    """(N, n + 1, E): e_0, the start, to e_n, what the head puts out."""
    first: Tensor
    """(N, n, H): h1 of every round."""
    second: Tensor
    """(N, n, H): h2 of every round."""


class Slopes(NamedTuple):
    """Gradients of the loss with respect to what n rounds went through."""

    estimates: Tensor
    """(N, n, E): with respect to e_1 to e_n."""
    first: Tensor
    """(N, n, H)."""
    second: Tensor
    """(N, n, H)."""


def go_forward(matrices: Matrices, constant: Tensor, start: Tensor, iterations: int) -> Rounds:
    """From `start` (E,), where `constant` (N, 1, H) is W1g c + b1."""
    estimate = start.expand(len(constant), 1, -1)
    estimates, firsts, seconds = [estimate], [], []
    for _ in range(iterations):
        first = torch.baddbmm(constant, estimate, matrices[FIRST])
        second = torch.baddbmm(matrices[SECOND_BIAS], first, matrices[SECOND].mT)
        correction = torch.baddbmm(matrices[DECODE_BIAS], second, matrices[DECODE].mT)
        estimate = estimate + correction
        estimates.append(estimate)
        firsts.append(first)
        seconds.append(second)
    return Rounds(*(torch.cat(rows, dim=1) for rows in (estimates, firsts, seconds)))


def go_backward(matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
    """From the loss's gradient (N, E) with respect to the last estimate.

    With g_i the gradient with respect to e_i, a round hands on
        g_h2 = D^T g_{i+1},    g_h1 = W2^T g_h2,    g_i = g_{i+1} + W1e^T g_h1,
    and none of them depends on what the estimates were: the head is affine.
    """
    slope = gradient.unsqueeze(1)
    estimates, firsts, seconds = [], [], []
    for _ in range(iterations):
        second = slope @ matrices[DECODE]
        first = second @ matrices[SECOND]
        estimates.append(slope)
        firsts.append(first)
        seconds.append(second)
        slope = torch.baddbmm(slope, first, matrices[FIRST].mT)
    return Slopes(*(torch.cat(rows[::-1], dim=1) for rows in (estimates, firsts, seconds)))


def gradients_of(rounds: Rounds, slopes: Slopes, given: Tensor) -> Gradients:
    """Those of the head's matrices, where `given` (N, 1, G + 1) is c and a 1.

    What is given is the same in all rounds, so that its matrix has the gradient
    (sum_i g_h1_i) c^T: one outer product.
    """
    ones = torch.ones_like(slopes.first[..., :1])
    return {
        GIVEN: Outer(slopes.first.sum(1, keepdim=True), given),
        FIRST: Outer(rounds.estimates[:, :-1], slopes.first),
        SECOND: Outer(slopes.second, rounds.first),
        SECOND_BIAS: Outer(ones, slopes.second),
        DECODE: Outer(slopes.estimates, rounds.second),
        DECODE_BIAS: Outer(ones, slopes.estimates),
    }
