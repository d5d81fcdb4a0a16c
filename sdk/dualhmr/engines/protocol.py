"""What runs a frozen network, and the arrays that it gives back."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt


class DLPackArray(Protocol):
    """An array of NumPy, PyTorch, CuPy or another library that speaks DLPack."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """The array's memory, in a capsule."""
        ...

    def __dlpack_device__(self) -> Any:
        """Where that memory is."""
        ...


Arrays = dict[str, DLPackArray]


class FrozenNetwork(Protocol):
    """A fixed function of named arrays, whatever runs it."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs; others may be given and are ignored."""
        ...

    @property
    def runs_on(self) -> str:
        """The engine and the device that are really used, for people to read."""
        ...

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name, persons first, to outputs by name, on the device that they were made on.

        Outputs are the caller's: later calls leave them alone.
        """
        ...
