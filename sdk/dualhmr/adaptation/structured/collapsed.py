"""The head's rounds with the head collapsed: the same numbers from half as many products.

A round is affine in the estimate alone,

    e_{i+1} = A e_i + b,    A = I + D W2 W1e,    b = D (W2 k + b2) + bd,

with k = W1g c + b1. So D W2 (E, H) is made once per step; the rounds, which wait for each other,
take one product with A (E, E) each, of 157 x 157 numbers instead of three of up to 1024 x 1024; and
the hidden layers of all rounds, of which the matrices' gradients are made, follow at once. Backward
likewise: g_i = A^T g_{i+1}, then g_h2 = D^T g and g_h1 = W2^T g_h2 for all rounds.

Of 10 rounds, 60 products become 27. The one large product that is new reads W2 once, where ten
rounds there and back read it twenty times; so it should pay on a GPU, where each product is a
kernel with a latency of its own, and for many persons, whose matrices do not stay in the cache.
That is counted, not measured: it has not run on a GPU yet. On a CPU it costs more than it saves.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.structured.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.structured.rounds import Rounds, Slopes


class Collapsed(NamedTuple):
    """The rounds of a head at one step, forwards and what backwards needs of it."""

    rounds: Rounds
    round_transposed: Tensor
    """(N, E, E): the transpose of A."""


def go_forward(matrices: Matrices, constant: Tensor, start: Tensor, iterations: int) -> Collapsed:
    """As `rounds.go_forward`."""
    first, second, decode = matrices[FIRST], matrices[SECOND], matrices[DECODE]
    from_first = decode @ second
    identity = torch.eye(len(start), dtype=start.dtype, device=start.device)
    transposed = torch.baddbmm(identity.expand(len(constant), -1, -1), first, from_first.mT)
    bias = torch.baddbmm(matrices[DECODE_BIAS], matrices[SECOND_BIAS], decode.mT)
    bias = torch.baddbmm(bias, constant, from_first.mT)
    estimates = [start.expand(len(constant), 1, -1)]
    for _ in range(iterations):
        estimates.append(torch.baddbmm(bias, estimates[-1], transposed))
    through = torch.cat(estimates, dim=1)
    firsts = torch.baddbmm(constant, through[:, :-1], first)
    seconds = torch.baddbmm(matrices[SECOND_BIAS], firsts, second.mT)
    return Collapsed(Rounds(through, firsts, seconds), transposed)


def go_backward(
    matrices: Matrices, round_transposed: Tensor, gradient: Tensor, iterations: int
) -> Slopes:
    """As `rounds.go_backward`."""
    slopes = [gradient.unsqueeze(1)]
    for _ in range(iterations - 1):
        slopes.append(slopes[-1] @ round_transposed.mT)
    estimates = torch.cat(slopes[::-1], dim=1)
    seconds = estimates @ matrices[DECODE]
    return Slopes(estimates, seconds @ matrices[SECOND], seconds)
