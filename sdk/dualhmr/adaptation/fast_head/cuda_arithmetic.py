"""`Arithmetic` on a GPU: iterations in PyTorch, Adam by one CUDA kernel, `fused_adam.cu`, in place.

Tests compile the kernel as C++ and compare it with `TorchArithmetic`. It has not run on a GPU yet.
"""

from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.arithmetic import TorchArithmetic
from dualhmr.adaptation.fast_head.head_gradients import OuterProducts
from dualhmr.adaptation.optimisers import AdamCoefficients, Moments

KERNEL = "fused_adam"
ROWS, THREADS = 4, 128
_REAL = {torch.float32: "float", torch.float64: "double"}
_WIDEST_BYTES = 16
"""The widest load and store of a GPU's thread."""


class KernelVariant(NamedTuple):
    """What the kernel is compiled for."""

    dtype: torch.dtype
    terms: int
    """How many outer products the gradient is a sum of."""
    width: int
    """How many numbers a load or store moves."""

    @property
    def options(self) -> tuple[str, ...]:
        """For the compiler."""
        numbers = {"TERMS": self.terms, "WIDTH": self.width, "ROWS": ROWS, "THREADS": THREADS}
        return f"-DREAL={_REAL[self.dtype]}", *(f"-D{name}={n}" for name, n in numbers.items())


class Launch(NamedTuple):
    """A grid of blocks, and arguments: ints are 64 bits wide and may be addresses."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[int | float, ...]


Kernel = Callable[[Launch, torch.device], None]
"""Launches asynchronously, in order with PyTorch's own work on the device."""


def kernel_source() -> str:
    """The kernel, as CUDA C++."""
    path = resources.files("dualhmr.adaptation.fast_head") / f"{KERNEL}.cu"
    return path.read_text(encoding="utf-8")


class CudaArithmetic(TorchArithmetic):
    """For float32 and float64 on a GPU; Adam writes into its arguments."""

    def __init__(self, compile_kernel: Callable[[KernelVariant], Kernel]) -> None:
        """`compile_kernel` compiles a variant of the kernel; called when it is first needed."""
        self._compile = compile_kernel
        self._kernels: dict[KernelVariant, Kernel] = {}
        self._coefficients: tuple[AdamCoefficients, Tensor, Tensor] | None = None

    def start_adam(self, matrix: Tensor) -> tuple[Tensor, Moments]:
        """A contiguous copy, and moments of zero."""
        copy = matrix.clone(memory_format=torch.contiguous_format)
        return copy, Moments(torch.zeros_like(copy), torch.zeros_like(copy))

    def adam(
        self,
        matrix: Tensor,
        moments: Moments,
        gradient: OuterProducts,
        coefficients: AdamCoefficients,
    ) -> tuple[Tensor, Moments]:
        """Writes into `matrix` (N, R, C) and `moments`, which must be contiguous."""
        state = (matrix, *moments)
        if not all(tensor.is_contiguous() for tensor in state):
            raise ValueError(
                "matrix and moments must be contiguous, as `start_adam` makes them; got strides "
                f"{[tensor.stride() for tensor in state]}"
            )
        left, right = (_persons_contiguous(part) for part in gradient)
        rate, epsilon = self._on_device(coefficients, matrix)
        variant = KernelVariant(matrix.dtype, left.shape[1], _width((*state, right)))
        if variant not in self._kernels:
            self._kernels[variant] = self._compile(variant)
        persons, rows, columns = matrix.shape
        block_columns = THREADS * variant.width
        addresses = (tensor.data_ptr() for tensor in (*state, left, right, rate, epsilon))
        sizes = (rows, columns, left.stride(0), right.stride(0))
        launch = Launch(
            # Rounded up.
            (-(-columns // block_columns), -(-rows // ROWS), persons),
            (THREADS, 1, 1),
            (*addresses, *sizes, coefficients.beta1, coefficients.beta2),
        )
        self._kernels[variant](launch, matrix.device)
        return matrix, moments

    def _on_device(self, coefficients: AdamCoefficients, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rate and epsilon where the kernel reads them; copied once for all matrices of a step."""
        kept = self._coefficients
        if kept is None or kept[0] is not coefficients or not _alike(kept[1], like):
            rate = _number_like(like, coefficients.rate)
            kept = (coefficients, rate, _number_like(like, coefficients.epsilon))
            self._coefficients = kept
        return kept[1:]


def _number_like(like: Tensor, number: float | Tensor) -> Tensor:
    if not isinstance(number, Tensor):
        return like.new_full((), number)
    if not _alike(number, like):
        raise ValueError(
            f"Adam's rate or epsilon is {number.dtype} on {number.device}, expected {like.dtype} "
            f"on {like.device}"
        )
    return number


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.device) == (other.dtype, other.device)


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
