"""Which TensorRT is installed: `tensorrt` (10 and 11), or `tensorrt_rtx` for RTX GPUs.

Both are imported by name at the moment they are needed, so that our own package of that name is
never taken for theirs, and so that nothing is loaded by people who run something else.
"""

import importlib
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any

LIBRARIES = ("tensorrt", "tensorrt_rtx")
_NO_GPU = ("NONE", "CURRENT")


@dataclass(frozen=True)
class Library:
    """One of the two libraries, imported. Their common API is all that this package calls."""

    module: Any
    name: str
    """"tensorrt" or "tensorrt_rtx"."""
    version: str
    cuda_version: str
    """The CUDA that it was made for, "13"; of PyTorch where its package does not say; "unknown"."""

    @property
    def builds_for_others(self) -> bool:
        """Whether it builds engines for GPUs that are not here, which run on any such GPU."""
        return self.name == "tensorrt_rtx"

    @property
    def times_kernels(self) -> bool:
        """Whether a timing cache speeds its builds up. RTX compiles its kernels where they run:
        for it a timing cache does nothing, and merely asking for one needs a GPU.
        """
        return self.name == "tensorrt"

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities that engines can be built for by name, as "sm86"."""
        if not self.builds_for_others:
            return ()
        known = self.module.ComputeCapability.__members__
        return tuple(name.lower() for name in known if name not in _NO_GPU)


def load_library(name: str | None = None) -> Library:
    """Imports TensorRT: the one named, or else the first that is installed of `LIBRARIES`.

    Raises ValueError for another name, and ImportError, which says what to install, where there is
    none or it cannot be loaded.
    """
    if name is not None and name not in LIBRARIES:
        raise ValueError(f"unknown library {name!r}; known are {', '.join(LIBRARIES)}")
    problems = []
    for candidate in LIBRARIES if name is None else (name,):
        try:
            module = importlib.import_module(candidate)
        except (ImportError, OSError) as error:  # OSError: its own libraries are not to be found
            problems.append(f"{candidate}: {error}")
            continue
        version = str(module.__version__)
        return Library(module, candidate, version, _cuda_version(candidate, version))
    raise ImportError(
        f"TensorRT is not to be had ({'; '.join(problems)}). Install it to match your CUDA: "
        "pip install tensorrt-cu13 (or tensorrt-cu12) for any NVIDIA GPU, or "
        "pip install tensorrt-rtx-cu13 (or tensorrt-rtx-cu12) for RTX GPUs"
    )


def _cuda_version(name: str, version: str) -> str:
    pattern = re.compile(rf"{name}[-_]cu(\d+)", re.IGNORECASE)
    for distribution in metadata.distributions():
        found = pattern.match(distribution.metadata["Name"].replace("-", "_"))
        if found and distribution.version == version:
            return found[1]
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "unknown"
    return str(torch.version.cuda or "unknown")
