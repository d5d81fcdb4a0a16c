"""The computations of a step that touch the head's large matrices, and how PyTorch does them."""

from collections.abc import Iterable
from typing import Protocol

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
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    OuterProducts,
)
from dualhmr.adaptation.optimisers import AdamCoefficients, Moments, adam_update
from dualhmr.compiling import numba_installed


class Arithmetic(Protocol):
    """The iterations of a head with hidden layers, and Adam on its matrices (N, R, C)."""

    def forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """The iterations from `start` (E,), where `constant` (N, 1, H) is W1g c + b1."""
        ...

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """From the loss's gradient (N, E) with respect to the last estimate.

        With g_i the gradient with respect to e_i, an iteration hands on

            g_h2 = D^T g_{i+1},    g_h1 = W2^T g_h2,    g_i = g_{i+1} + W1e^T g_h1.
        """
        ...

    def start_adam(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """`matrix`, or a copy that `adam` may overwrite, and moments of zero."""
        ...

    def adam(
        self,
        matrix: Tensor,
        moments: Moments,
        gradient: OuterProducts,
        coefficients: AdamCoefficients,
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update; the arguments may be overwritten."""
        ...

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Takes tensors that `start_adam` made and that are no longer used, to use them again."""
        ...


class TorchArithmetic:
    """Out of place and without waiting for a device: fit for capture, export and many persons.

    The head is collapsed. An iteration is affine in the estimate alone,

        e_{i+1} = A e_i + b,    A = I + D W2 W1e,    b = D (W2 k + b2) + bd,

    with k = W1g c + b1. So D W2 (E, H) is computed once per step. The iterations, which wait for
    each other, take one product with A (E, E) each, of 157 x 157 numbers instead of three of up to
    1024 x 1024. The hidden layers of all iterations, which the matrices' gradients are made of,
    follow in one product each. Backward likewise: g_i = A^T g_{i+1}, then g_h2 = D^T g and
    g_h1 = W2^T g_h2 for all iterations.

    Of 10 iterations, 60 products become 27. The one large product that is new reads W2 once, where
    ten iterations forward and back read it twenty times. That suits a GPU, where each product is a
    kernel with a latency of its own; on a CPU it costs more than it saves, and
    `CompiledArithmetic` is faster there.

    Row vectors: x (N, 1, C) through a matrix W (N, R, C) is x W^T (N, 1, R).
    """

    def forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `Arithmetic`."""
        fc1, fc2, decode = matrices[FC1_ESTIMATE], matrices[FC2], matrices[DECODE]
        from_hidden1 = decode @ fc2
        identity = torch.eye(len(start), dtype=start.dtype, device=start.device)
        transposed = torch.baddbmm(identity.expand(len(constant), -1, -1), fc1, from_hidden1.mT)
        bias = torch.baddbmm(matrices[DECODE_BIAS], matrices[FC2_BIAS], decode.mT)
        bias = torch.baddbmm(bias, constant, from_hidden1.mT)
        iterates = [start.expand(len(constant), 1, -1)]
        for _ in range(iterations):
            iterates.append(torch.baddbmm(bias, iterates[-1], transposed))
        estimates = torch.cat(iterates, dim=1)
        hidden1 = torch.baddbmm(constant, estimates[:, :-1], fc1)
        hidden2 = torch.baddbmm(matrices[FC2_BIAS], hidden1, fc2.mT)
        return Activations(estimates, (hidden1, hidden2), transposed)

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """See `Arithmetic`; `activations` are those of this class's `forward`."""
        assert activations.transition_transposed is not None
        transition = activations.transition_transposed.mT
        gradients = [gradient.unsqueeze(1)]
        for _ in range(activations.estimates.shape[1] - 2):
            gradients.append(gradients[-1] @ transition)
        estimates = torch.cat(gradients[::-1], dim=1)
        hidden2 = estimates @ matrices[DECODE]
        return ActivationGradients(estimates, (hidden2 @ matrices[FC2], hidden2))

    def start_adam(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """The matrix itself, and moments of zero."""
        zeros = torch.zeros_like(matrix)
        return matrix, Moments(zeros, zeros)

    def adam(
        self,
        matrix: Tensor,
        moments: Moments,
        gradient: OuterProducts,
        coefficients: AdamCoefficients,
    ) -> tuple[Tensor, Moments]:
        """See `Arithmetic`."""
        return adam_update(matrix, moments, gradient.dense(), coefficients)

    def recycle(self, tensors: Iterable[Tensor]) -> None:
        """Nothing to do."""


def arithmetic_for(tensor: Tensor) -> Arithmetic:
    """The fastest where `tensor` is; float32 and float64 only, PyTorch for other dtypes.

    On a GPU eager steps are PyTorch's; `CapturedHeads` has kernels of its own.
    """
    on_cpu = tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
    if on_cpu and numba_installed():
        # Imported only where it is used: numba takes a while to load.
        from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic

        return CompiledArithmetic()
    return TorchArithmetic()
