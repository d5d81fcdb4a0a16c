"""The parts of the fast step that ONNX needs in another form: iterations and Adam."""

import math

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FC1_ESTIMATE,
    FC2,
    FC2_BIAS,
    Matrices,
)
from dualhmr.adaptation.fast_head.arithmetic import TorchArithmetic
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    OuterProducts,
)
from dualhmr.adaptation.optimisers import AdamCoefficients, Moments


class GraphArithmetic(TorchArithmetic):
    """`Arithmetic` for one person in the matrix products that ONNX has; tensors are (1, ., .).

    ONNX's Gemm takes matrices, not batches of them, reads them transposed or not, and scales and
    adds its third argument: an iteration is three of them, and a moving mean of gradients is one.
    """

    def forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `Arithmetic`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        estimate, constant = start[None], constant.squeeze(0)
        estimates, hiddens1, hiddens2 = [estimate], [], []
        for _ in range(iterations):
            hidden1 = torch.addmm(constant, estimate, own[FC1_ESTIMATE])
            hidden2 = torch.addmm(own[FC2_BIAS], hidden1, own[FC2].T)
            estimate = torch.addmm(estimate + own[DECODE_BIAS], hidden2, own[DECODE].T)
            estimates.append(estimate)
            hiddens1.append(hidden1)
            hiddens2.append(hidden2)
        hidden = (torch.cat(rows)[None] for rows in (hiddens1, hiddens2))
        return Activations(torch.cat(estimates)[None], tuple(hidden))

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """See `Arithmetic`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        estimates, hiddens1, hiddens2 = [], [], []
        for _ in range(activations.estimates.shape[1] - 1):
            hidden2 = gradient @ own[DECODE]
            hidden1 = hidden2 @ own[FC2]
            estimates.append(gradient)
            hiddens1.append(hidden1)
            hiddens2.append(hidden2)
            gradient = torch.addmm(gradient, hidden1, own[FC1_ESTIMATE].T)
        hidden = (torch.cat(rows[::-1])[None] for rows in (hiddens1, hiddens2))
        return ActivationGradients(torch.cat(estimates[::-1])[None], tuple(hidden))

    def adam(
        self,
        matrix: Tensor,
        moments: Moments,
        gradient: OuterProducts,
        coefficients: AdamCoefficients,
    ) -> tuple[Tensor, Moments]:
        """See `Arithmetic`.

        1 - beta2 scales the gradient's vectors, which is cheaper than scaling its square. The root
        needs no floor, as the graph is not differentiated; epsilon keeps it from zero.
        """
        beta1, beta2, rate, epsilon = coefficients
        left, right = gradient.left.squeeze(0).T, gradient.right.squeeze(0)
        first = torch.addmm(moments.first.squeeze(0), left, right, beta=beta1, alpha=1 - beta1)
        scaled = (math.sqrt(1 - beta2) * left) @ right
        second = beta2 * moments.second.squeeze(0) + scaled * scaled
        value = matrix.squeeze(0) - rate * first / (second.sqrt() + epsilon)
        return value[None], Moments(first[None], second[None])
