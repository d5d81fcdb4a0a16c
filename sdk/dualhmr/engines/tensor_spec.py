"""What a network's inputs and outputs have to be: names, types and shapes, persons first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}


class TensorSpec(NamedTuple):
    """One input or output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of one person."""

    @property
    def axes(self) -> str:
        """The shape of N persons, for people."""
        return f"({', '.join(['N', *map(str, self.shape)])})"


def tensor_spec(node: Any) -> TensorSpec:
    """That of a session's input or output.

    Raises ValueError for another type, or unless the persons' axis, and only it, is open.
    """
    first, *rest = node.shape or [0]
    if isinstance(first, int) or not all(isinstance(size, int) for size in rest):
        raise ValueError(
            f"{node.name} has the shape {node.shape}; expected an open first axis, the persons, "
            "and fixed others"
        )
    if node.type not in _TYPES:
        raise ValueError(f"{node.name} is a {node.type}; expected one of {', '.join(_TYPES)}")
    return TensorSpec(node.name, np.dtype(_TYPES[node.type]), tuple(rest))


def checked(
    inputs: Mapping[str, npt.NDArray[Any]], specs: Sequence[TensorSpec]
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The inputs that a network reads, in one piece each, and how many persons they hold.

    Raises TypeError for a wrong type, ValueError for what is missing or of another shape.
    """
    missing = [spec.name for spec in specs if spec.name not in inputs]
    if missing:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"missing inputs {', '.join(missing)}; this network reads {names}")
    arrays = {spec.name: np.ascontiguousarray(inputs[spec.name]) for spec in specs}
    for spec, array in zip(specs, arrays.values(), strict=True):
        if array.dtype != spec.dtype:
            raise TypeError(f"input {spec.name} is {array.dtype}, expected {spec.dtype}")
        if array.shape[1:] != spec.shape:
            raise ValueError(f"input {spec.name} has the shape {array.shape}, expected {spec.axes}")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"every input holds the same persons, but their numbers are {counts}")
    return arrays, next(iter(counts.values()))
