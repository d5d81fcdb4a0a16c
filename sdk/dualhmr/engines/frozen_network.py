"""What runs a frozen network: its interface, its options and its execution providers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt


class Provider(NamedTuple):
    """One of them."""

    name: str
    """What ONNX Runtime calls it."""
    on_gpu: bool
    """Whether it computes on a CUDA device, and can leave its outputs there."""
    install: str
    """What to do where it is missing."""


PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", False, "pip install onnxruntime"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, for the CUDA and cuDNN that are here",
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, and the tensorrt it was made for",
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


def provider_for(name: str | None, device: str) -> Provider:
    """The provider of that short name, or the plain one of "cpu", "cuda" or "cuda:1"."""
    return PROVIDERS[name or device.partition(":")[0]]


DEFAULT_MAX_BATCH = 8


@dataclass(frozen=True)
class EngineOptions:
    """Settings of every engine; each reads those that concern it."""

    provider: str | None = None
    """ONNX Runtime's execution provider: `cpu`, `cuda`, `tensorrt`, `nv_tensorrt_rtx`, `openvino`.

    None: that of the device.
    """
    threads: int | None = None
    """CPU threads of ONNX Runtime; None: its own choice."""
    max_batch: int | None = None
    """Most persons that TensorRT takes at once, larger batches are split; None: as exported for."""
    cuda_graph: bool = False
    """Whether TensorRT, and steps in PyTorch on a GPU, are replayed as CUDA graphs."""
    cache_folder: Path | None = None
    """Of built TensorRT engines; None: the user's cache folder."""

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
