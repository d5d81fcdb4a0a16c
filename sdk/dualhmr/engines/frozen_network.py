"""What every engine shares: the interface of a frozen network, its inputs, and the options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import to_numpy


class Provider(NamedTuple):
    """An execution provider of ONNX Runtime."""

    name: str
    """ONNX Runtime's name for it."""
    on_gpu: bool
    """Whether it computes on a CUDA device, and can leave its outputs there."""
    install: str
    """What to do where it is missing."""
    libraries: str = ""
    """What to do where this ONNX Runtime has it, but it cannot be loaded."""


_CUDA_LIBRARIES = (
    "install the libraries of the CUDA and cuDNN that it was built for, as by "
    'pip install "onnxruntime-gpu[cuda,cudnn]"'
)
PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", False, "pip install onnxruntime"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, for the installed CUDA and cuDNN",
        _CUDA_LIBRARIES,
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, and TensorRT 10",
        f"pip install the TensorRT it was built for, 10, and {_CUDA_LIBRARIES}",
    ),
    "nv_tensorrt_rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        True,
        "pip install onnxruntime-ep-nv-tensorrt-rtx beside onnxruntime 1.24 or newer",
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        False,
        "pip install onnxruntime-openvino in place of onnxruntime",
    ),
}
"""Execution providers of ONNX Runtime by the names that `EngineOptions.provider` takes."""


def provider_for(name: str | None, device: str) -> Provider:
    """The provider of that short name, or for None that of the device: "cpu", "cuda", "cuda:1"."""
    return PROVIDERS[name or device.partition(":")[0]]


DEFAULT_MAX_BATCH = 8


@dataclass(frozen=True)
class EngineOptions:
    """Settings of the engines; each engine reads those that concern it."""

    provider: str | None = None
    """ONNX Runtime's execution provider: `cpu`, `cuda`, `tensorrt`, `nv_tensorrt_rtx`, `openvino`.

    None: that of the device.
    """
    threads: int | None = None
    """CPU threads of ONNX Runtime, and of persons that are adapted side by side; None: all."""
    max_batch: int | None = None
    """Largest batch of frozen networks on a GPU; larger ones are split. Less takes less memory.

    None: what the bundle says, which its TensorRT engines are built for; in PyTorch 64.
    """
    cuda_graph: bool | None = None
    """Whether what runs on a GPU is replayed as CUDA graphs: steps, and the frozen networks in
    PyTorch and TensorRT. None: all but the networks in TensorRT.
    """
    tf32: bool = False
    """Whether frozen networks in float32 may use TF32 on a GPU.

    It rounds the factors of products to 10 bits of mantissa, 3 decimal digits, and sums in float32:
    faster, about as exact as `--precision fp16`. Adaptation never uses it.
    """
    cache_folder: Path | None = None
    """Folder for built TensorRT engines; None: the user's cache folder."""

    @property
    def captures_graphs(self) -> bool:
        """Whether steps, and the frozen networks in PyTorch, are replayed as CUDA graphs."""
        return self.cuda_graph is not False

    def __post_init__(self) -> None:
        if self.provider is not None and self.provider not in PROVIDERS:
            raise ValueError(
                f"unknown provider {self.provider!r}; known are {', '.join(PROVIDERS)}"
            )
        for name in ("threads", "max_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


class DLPackArray(Protocol):
    """An array of NumPy, PyTorch, CuPy or another library that supports DLPack."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """A capsule with the array's memory."""
        ...

    def __dlpack_device__(self) -> Any:
        """The device of that memory."""
        ...


Arrays = dict[str, DLPackArray]


class TensorSpec(NamedTuple):
    """An input or output of a network; the first axis, the persons, is left out of `shape`."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls, name: str, kind: str, shape: Sequence[int | str | None], types: Mapping[str, str]
    ) -> "TensorSpec":
        """From an engine's description; `types` are NumPy's names of its types.

        Raises ValueError for another type, or unless the persons' axis, and only it, is open (a
        name, or None).
        """
        first, *rest = shape or [0]
        fixed = [size for size in rest if isinstance(size, int)]
        if isinstance(first, int) or len(fixed) < len(rest):
            raise ValueError(
                f"{name} has the shape {list(shape)}; expected an open first axis, the persons, "
                "and fixed others"
            )
        if kind not in types:
            raise ValueError(f"{name} is of type {kind}; expected one of {', '.join(types)}")
        return cls(name, np.dtype(types[kind]), tuple(fixed))

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(['N', *map(str, self.shape)])})"


class FrozenNetwork(Protocol):
    """A fixed function of named arrays, whichever engine runs it."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs; others may be passed and are ignored."""
        ...

    @property
    def runs_on(self) -> str:
        """The engine and the device in use, for people to read."""
        ...

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name, persons first, to outputs by name, on the device that computed them.

        Every call returns new arrays.
        """
        ...


def check_inputs(
    inputs: Mapping[str, Any], specs: Sequence[TensorSpec]
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The inputs that a network reads, as contiguous arrays of the host, and how many persons.

    Raises TypeError for a wrong type, ValueError for a missing input or a wrong shape.
    """
    missing = [spec.name for spec in specs if spec.name not in inputs]
    if missing:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"missing inputs {', '.join(missing)}; this network reads {names}")
    arrays = {spec.name: np.ascontiguousarray(to_numpy(inputs[spec.name])) for spec in specs}
    for spec, array in zip(specs, arrays.values(), strict=True):
        if array.dtype != spec.dtype:
            raise TypeError(f"input {spec.name} is {array.dtype}, expected {spec.dtype}")
        if array.shape[1:] != spec.shape:
            expected = f"({', '.join(['N', *map(str, spec.shape)])})"
            raise ValueError(f"input {spec.name} has the shape {array.shape}, expected {expected}")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"every input holds the same persons, but their numbers are {counts}")
    return arrays, next(iter(counts.values()))
