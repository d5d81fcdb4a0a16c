"""What captured steps compute by kernels of their own, in `head.cu`, beside PyTorch's products.

Tests compile the kernels as C++ and compare them with `TorchArithmetic`.
"""

from dataclasses import dataclass
from typing import cast

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
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, KernelVariant
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    MatrixGradients,
    OuterProducts,
)
from dualhmr.adaptation.fast_head.head_step import DenseMatrix
from dualhmr.adaptation.fast_head.rank_one_output import RankOneOutput
from dualhmr.adaptation.optimisers import AdamCoefficients, GradientDescent

_FILE = ("dualhmr.adaptation.fast_head", "head.cu")
_ROWS, _THREADS, _ITERATION_THREADS, _NORM_THREADS = 4, 128, 640, 896
_WIDEST_BYTES = 16
"""The widest load and store of a GPU's thread."""
_MOST_TERMS = 16
"""Of a gradient's outer products: a thread keeps them in registers."""


class CudaArithmetic(TorchArithmetic):
    """`TorchArithmetic`, with all iterations of the collapsed head in one launch, for its sizes.

    Float32 and float64. The matrices that it updates in place are `CudaMatrix` and `CudaOutput`.
    """

    def __init__(self, kernels: CudaKernels) -> None:
        self._kernels = kernels

    def forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `Arithmetic`; keeps A - I, which the way back multiplies with."""
        fc1, fc2, decode = matrices[FC1_ESTIMATE], matrices[FC2], matrices[DECODE]
        from_hidden1 = decode @ fc2
        onward, back = fc1 @ from_hidden1.mT, from_hidden1 @ fc1.mT
        hidden2 = torch.baddbmm(matrices[FC2_BIAS], constant, fc2.mT)
        bias = torch.baddbmm(matrices[DECODE_BIAS], hidden2, decode.mT)
        estimates = self._iterate(start, onward, bias, iterations, upwards=True)
        hidden1 = torch.baddbmm(constant, estimates[:, :-1], fc1)
        hidden2 = torch.baddbmm(matrices[FC2_BIAS], hidden1, fc2.mT)
        return Activations(estimates, (hidden1, hidden2), back)

    def backward(
        self, matrices: Matrices, activations: Activations, gradient: Tensor
    ) -> ActivationGradients:
        """See `Arithmetic`; `activations` are those of this class's `forward`."""
        assert activations.transition_transposed is not None
        count = activations.estimates.shape[1] - 2
        back = activations.transition_transposed
        estimates = self._iterate(gradient.contiguous(), back, None, count, upwards=False)
        hidden2 = estimates @ matrices[DECODE]
        return ActivationGradients(estimates, (hidden2 @ matrices[FC2], hidden2))

    def _iterate(
        self, start: Tensor, matrix: Tensor, bias: Tensor | None, count: int, *, upwards: bool
    ) -> Tensor:
        """x + x M + b again and again, from `start` (E,) or (N, E): (N, count + 1, E)."""
        persons, size, _ = matrix.shape
        out = matrix.new_empty(persons, count + 1, size)
        pitch = 0 if start.ndim == 1 else size
        arguments = (start, matrix, bias, out, pitch, count, 1 if upwards else -1)
        variant = KernelVariant(_FILE, "iterate", matrix.dtype, (("ESTIMATE", size),))
        self._kernels.launch(variant, (persons, 1, 1), _ITERATION_THREADS, arguments)
        return out

    def update_matrix(
        self, matrix: "CudaMatrix", gradient: OuterProducts, by: AdamCoefficients | Tensor
    ) -> None:
        """Writes Adam's update into value and moments; or, at a rate (N,), gradient descent's."""
        value, moments = matrix.value, matrix.moments
        assert moments is not None
        state = (value, *moments)
        if not all(tensor.is_contiguous() for tensor in state):
            strides = [tensor.stride() for tensor in state]
            raise ValueError(f"matrix and moments must be contiguous; got strides {strides}")
        persons, rows, columns = value.shape
        left, right = (_persons_contiguous(part) for part in gradient)
        adam, numbers = _numbers(by)
        width = _width((*state, right))
        sizes = (("TERMS", left.shape[1]), ("WIDTH", width), ("ADAM", adam))
        variant = KernelVariant(_FILE, "update_matrix", value.dtype, sizes)
        # Rounded up.
        grid = (-(-columns // (_THREADS * width)), -(-rows // _ROWS), persons)
        shape = (rows, columns, left.stride(0), right.stride(0))
        arguments = (*state, left, right, *numbers[:2], *shape, *numbers[2:])
        self._kernels.launch(variant, grid, _THREADS, arguments)

    def update_output(
        self, output: "CudaOutput", gradient: OuterProducts, by: AdamCoefficients | Tensor
    ) -> None:
        """As `update_matrix`, for the output that stands for a matrix."""
        assert output.moments is not None
        persons, _, columns = output.value.shape
        adam, numbers = _numbers(by)
        nodes = output.head_input.nodes
        points, masses = nodes if adam else (output.head_input.squared_norm,) * 2
        variant = KernelVariant(_FILE, "update_output", output.value.dtype, (("ADAM", adam),))
        state = (output.value, *output.moments, gradient.left.contiguous())
        arguments = (*state, points, masses, *numbers[:2], columns, points.shape[-1], *numbers[2:])
        self._kernels.launch(variant, (-(-columns // _THREADS), persons, 1), _THREADS, arguments)

    def clipped_rate(
        self, gradients: MatrixGradients, input_norm: Tensor, optimiser: GradientDescent
    ) -> Tensor:
        """(N,): the rate of `optimiser`, which has a `max_norm`, as `update_matrices` clips it.

        The gradients are of a head with hidden layers; `input_norm` is the squared norm of its
        inputs, N numbers.
        """
        (estimates, gradient1), (gradient2, hidden1), (gradient, hidden2) = (
            gradients[name] for name in (FC1_ESTIMATE, FC2, DECODE)
        )
        estimates, size = _persons_contiguous(estimates), estimates.shape[2]
        vectors = [each.contiguous() for each in (gradient1, hidden1, gradient2, hidden2, gradient)]
        persons, terms, hidden = gradient1.shape
        rates = gradient1.new_empty(persons)
        sizes = (("TERMS", terms), ("ESTIMATE", size))
        variant = KernelVariant(_FILE, "clipped_rate", gradient1.dtype, sizes)
        numbers = (hidden, estimates.stride(0), optimiser.learning_rate, optimiser.max_norm)
        arguments = (estimates, *vectors, input_norm.contiguous(), rates, *numbers)
        self._kernels.launch(variant, (persons, 1, 1), _NORM_THREADS, arguments)
        return rates


@dataclass(frozen=True)
class CudaMatrix(DenseMatrix):
    """A `DenseMatrix` that is updated in place; it always has moments."""

    def reset(self) -> "CudaMatrix":
        """Itself: whoever owns its memory zeroes the moments."""
        return self

    def gradient_step(self, gradient: OuterProducts, rate: float | Tensor) -> "CudaMatrix":
        """W - rate left^T right."""
        self._arithmetic.update_matrix(self, gradient, _rates(rate, self.value))
        return self

    def adam_step(self, gradient: OuterProducts, coefficients: AdamCoefficients) -> "CudaMatrix":
        """By the kernel."""
        self._arithmetic.update_matrix(self, gradient, coefficients)
        return self

    @property
    def _arithmetic(self) -> CudaArithmetic:
        return cast(CudaArithmetic, self.arithmetic)


@dataclass(frozen=True)
class CudaOutput(RankOneOutput):
    """A `RankOneOutput` that is updated in place; it always has moments."""

    arithmetic: CudaArithmetic | None = None

    def reset(self) -> "CudaOutput":
        """Itself: whoever owns its memory zeroes the moments."""
        return self

    def gradient_step(self, gradient: OuterProducts, rate: float | Tensor) -> "CudaOutput":
        """W changes by -rate d c^T, and so k by -rate d |c|^2."""
        cast(CudaArithmetic, self.arithmetic).update_output(
            self, gradient, _rates(rate, self.value)
        )
        return self

    def adam_step(self, gradient: OuterProducts, coefficients: AdamCoefficients) -> "CudaOutput":
        """By the kernel."""
        cast(CudaArithmetic, self.arithmetic).update_output(self, gradient, coefficients)
        return self


def kernels_fit(dtype: torch.dtype, iterations: int, estimate: int) -> bool:
    """Whether the kernels take a head: of that dtype, number of iterations, and size E."""
    return (
        dtype in (torch.float32, torch.float64)
        and iterations <= _MOST_TERMS
        and estimate <= _ITERATION_THREADS
    )


def _numbers(by: AdamCoefficients | Tensor) -> tuple[int, tuple[Tensor | float | None, ...]]:
    """Whether it is Adam, and rate, epsilon, beta1 and beta2 as the kernels take them."""
    if isinstance(by, Tensor):
        return 0, (by, None, 0.0, 0.0)
    rate, epsilon = by.rate, by.epsilon
    if not (isinstance(rate, Tensor) and isinstance(epsilon, Tensor)):
        raise TypeError("Adam's rate and epsilon must be tensors on the device")
    return 1, (rate, epsilon, by.beta1, by.beta2)


def _rates(rate: float | Tensor, value: Tensor) -> Tensor:
    """One for each person, (N,)."""
    if isinstance(rate, Tensor):
        return rate.flatten()
    return value.new_full((len(value),), rate)


def _persons_contiguous(vectors: Tensor) -> Tensor:
    """(N, n, R) with each person's numbers contiguous; persons may lie apart."""
    contiguous = vectors.stride(2) == 1 and vectors.stride(1) == vectors.shape[2]
    return vectors if contiguous else vectors.contiguous()


def _width(tensors: tuple[Tensor, ...]) -> int:
    """How many columns a load can move: as many as alignment allows."""
    bytes_each = tensors[0].element_size()
    columns, pitch = tensors[-1].shape[-1], tensors[-1].stride(0)
    places = [tensor.data_ptr() for tensor in tensors]
    places += [columns * bytes_each, pitch * bytes_each]
    aligned = all(place % _WIDEST_BYTES == 0 for place in places)
    return _WIDEST_BYTES // bytes_each if aligned else 1
