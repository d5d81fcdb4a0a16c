"""A head's rounds and Adam for one person, in the matrix products that ONNX has.

ONNX's Gemm takes matrices, not batches of them, transposes what it is given as it goes, and scales
and adds on the way: a round is three of them, and a moving mean of gradients is one.
"""

import math

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
from dualhmr.adaptation.structured.arithmetic import Moments, Pace, TorchArithmetic
from dualhmr.adaptation.structured.outer import Outer
from dualhmr.adaptation.structured.rounds import Rounds, Slopes


class GraphArithmetic(TorchArithmetic):
    """Equal to `TorchArithmetic` but for rounding; all tensors are (1, rows, columns)."""

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Rounds:
        """See `rounds.go_forward`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        estimate, constant = start[None], constant.squeeze(0)
        estimates, firsts, seconds = [estimate], [], []
        for _ in range(iterations):
            first = torch.addmm(constant, estimate, own[FIRST])
            second = torch.addmm(own[SECOND_BIAS], first, own[SECOND].T)
            estimate = torch.addmm(estimate + own[DECODE_BIAS], second, own[DECODE].T)
            estimates.append(estimate)
            firsts.append(first)
            seconds.append(second)
        return Rounds(*(torch.cat(rows)[None] for rows in (estimates, firsts, seconds)))

    def go_backward(self, matrices: Matrices, gradient: Tensor, iterations: int) -> Slopes:
        """See `rounds.go_backward`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        slope = gradient
        estimates, firsts, seconds = [], [], []
        for _ in range(iterations):
            second = slope @ own[DECODE]
            first = second @ own[SECOND]
            estimates.append(slope)
            firsts.append(first)
            seconds.append(second)
            slope = torch.addmm(slope, first, own[FIRST].T)
        return Slopes(*(torch.cat(rows[::-1])[None] for rows in (estimates, firsts, seconds)))

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: Pace
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update.

        The second moment's share of the gradient is scaled before it is spread out, as vectors. It
        has no floor of its own: beside epsilon in the sum it would not count.
        """
        left, right = gradient.left.squeeze(0).T, gradient.right.squeeze(0)
        first = torch.addmm(
            moments.first.squeeze(0), left, right, beta=pace.beta1, alpha=1 - pace.beta1
        )
        share = (math.sqrt(1 - pace.beta2) * left) @ right
        second = pace.beta2 * moments.second.squeeze(0) + share * share
        root = second.sqrt() + pace.floor
        value = matrix.squeeze(0) - pace.rate * first / root
        return value[None], Moments(first[None], second[None])
