"""How engines run, as plain data."""

from dataclasses import dataclass
from pathlib import Path

from dualhmr.engines.providers import PROVIDERS

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
