"""What goes into an engine and what comes out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine; -1 in its shape is the number of persons."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name, or "bfloat16"."""

    def shape_for(self, persons: int) -> tuple[int, ...]:
        """The shape for a number of persons."""
        return tuple(persons if size == -1 else size for size in self.shape)

    def checked(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`value` as contiguous memory; TypeError or ValueError if it is not for this input."""
        if str(value.dtype) != self.dtype:
            raise TypeError(f"input {self.name!r} is {value.dtype}; the engine reads {self.dtype}")
        if value.shape != self.shape_for(len(value) if value.ndim else 0):
            raise ValueError(
                f"input {self.name!r} has the shape {value.shape}; the engine reads {self.shape}, "
                "where -1 is the number of persons"
            )
        # Writeable, because PyTorch warns of arrays that are not.
        return np.require(value, requirements=["C", "W"])


def tensors_of(trt: Any, engine: Any) -> tuple[list[Tensor], list[Tensor]]:
    """An engine's inputs and outputs. ValueError for one of a type that is not ours."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _TYPES:
            raise ValueError(f"{name!r} is of type {kind}; known are {', '.join(_TYPES)}")
        tensor = Tensor(name, tuple(engine.get_tensor_shape(name)), _TYPES[kind])
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(tensor)
    return inputs, outputs
