"""Adam on matrices by one CUDA kernel, `fused_adam.cu`: what to compile it for, and what to launch.

Held to `TorchArithmetic` by compiling the kernel as C++; it has not run on a GPU yet.
"""

from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.arithmetic import AdamCoefficients, Moments, Outer

KERNEL = "fused_adam"
ROWS, THREADS = 4, 128
_REAL = {torch.float32: "float", torch.float64: "double"}
_WIDEST_BYTES = 16


class Variant(NamedTuple):
    """What the kernel is compiled for."""

    dtype: torch.dtype
    terms: int
    """How many outer products the gradient is a sum of."""
    width: int
    """How many numbers are moved at a time."""

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
"""Runs without waiting, in order with what PyTorch does on the device."""


def kernel_source() -> str:
    """The kernel, as CUDA C++."""
    path = resources.files("dualhmr.adaptation.fast_head") / f"{KERNEL}.cu"
    return path.read_text(encoding="utf-8")


class FusedAdam:
    """`TorchArithmetic.adam`, in place."""

    def __init__(self, compiled: Callable[[Variant], Kernel]) -> None:
        """`compiled` compiles a variant of the kernel, when it is first needed."""
        self._compiled = compiled
        self._kernels: dict[Variant, Kernel] = {}
        self._pace: tuple[AdamCoefficients, Tensor, Tensor] | None = None

    def __call__(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> None:
        """Writes into `matrix` (N, R, C) and `moments`, which must be contiguous."""
        state = (matrix, *moments)
        if not all(tensor.is_contiguous() for tensor in state):
            raise ValueError("matrix and moments must be contiguous, as `begin` makes them")
        left, right = (_rows_together(part) for part in gradient)
        rate, floor = self._on_device(pace, matrix)
        variant = Variant(matrix.dtype, left.shape[1], _width((*state, right)))
        if variant not in self._kernels:
            self._kernels[variant] = self._compiled(variant)
        persons, rows, columns = matrix.shape
        across = THREADS * variant.width
        addresses = (tensor.data_ptr() for tensor in (*state, left, right, rate, floor))
        sizes = (rows, columns, left.stride(0), right.stride(0))
        launch = Launch(
            (-(-columns // across), -(-rows // ROWS), persons),
            (THREADS, 1, 1),
            (*addresses, *sizes, pace.beta1, pace.beta2),
        )
        self._kernels[variant](launch, matrix.device)

    def _on_device(self, pace: AdamCoefficients, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rate and floor where the kernel reads them; all matrices of an update share them."""
        if self._pace is None or self._pace[0] is not pace or not _alike(self._pace[1], like):
            rate, floor = (_number_like(like, number) for number in (pace.rate, pace.floor))
            self._pace = (pace, rate, floor)
        return self._pace[1:]


def _number_like(like: Tensor, number: float | Tensor) -> Tensor:
    if not isinstance(number, Tensor):
        return like.new_full((), number)
    if not _alike(number, like):
        raise ValueError(
            f"the pace is {number.dtype} on {number.device}, expected {like.dtype} on {like.device}"
        )
    return number


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.device) == (other.dtype, other.device)


def _rows_together(rows: Tensor) -> Tensor:
    """(N, n, R), a person's all in a row in memory; persons may lie apart."""
    together = rows.stride(2) == 1 and rows.stride(1) == rows.shape[2]
    return rows if together else rows.contiguous()


def _width(tensors: tuple[Tensor, ...]) -> int:
    """How many columns can be moved at a time."""
    bytes_each = tensors[0].element_size()
    columns, pitch = tensors[-1].shape[-1], tensors[-1].stride(0)
    places = [tensor.data_ptr() for tensor in tensors]
    places += [columns * bytes_each, pitch * bytes_each]
    aligned = all(place % _WIDEST_BYTES == 0 for place in places)
    return _WIDEST_BYTES // bytes_each if aligned else 1
