"""Which TensorRT is installed: `tensorrt` (10 and 11), or `tensorrt_rtx` for RTX GPUs.

Both are imported by name at the moment they are needed, so that our own package of that name is
never taken for theirs, and so that nothing is loaded by people who run something else.
"""

import functools
import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from dualhmr.arrays import torch_installed

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


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    index: int
    name: str
    capability: str
    """Its compute capability, as "sm86"."""
    seen_by: str
    """The library that found it and whose arrays live on it: "torch" or "cupy"."""


def find_gpu(device: str = "cuda") -> Gpu | None:
    """The GPU of "cuda" (the current one) or "cuda:1"; None where there is no such GPU.

    Raises ValueError for a device that is no GPU.
    """
    form = re.fullmatch(r"cuda(?::(\d+))?", device)
    if form is None:
        raise ValueError(f'TensorRT runs on "cuda" or "cuda:1", not on {device!r}')
    index = int(form[1]) if form[1] else None
    if torch_installed():
        torch = importlib.import_module("torch")
        # PyTorch for AMD calls its GPUs "cuda" too.
        if torch.cuda.is_available() and torch.version.cuda is not None:
            return _seen_by_torch(torch, index)
    return _seen_by_cupy(index)


def _seen_by_torch(torch: Any, index: int | None) -> Gpu | None:
    if index is None:
        index = int(torch.cuda.current_device())
    if index >= torch.cuda.device_count():
        return None
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(index, str(torch.cuda.get_device_name(index)), f"sm{major}{minor}", "torch")


def _seen_by_cupy(index: int | None) -> Gpu | None:
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # CuPy missing, or no driver: its error classes differ between versions
        return None
    index = index or 0
    if index >= count:
        return None
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return Gpu(index, name, f"sm{cupy.cuda.Device(index).compute_capability}", "cupy")


def why_unavailable(device: str = "cuda") -> str | None:
    """What keeps TensorRT from running on `device`, for people to read; None if nothing does.

    Raises ValueError for a device that is no GPU.
    """
    gpu = find_gpu(device)
    try:
        library = load_library()
    except ImportError as error:
        return str(error)
    if gpu is None:
        return (
            f"TensorRT needs an NVIDIA GPU, and neither PyTorch nor CuPy finds one as {device!r}; "
            "install PyTorch with CUDA and NVIDIA's driver, or choose another engine"
        )
    if library.builds_for_others and gpu.capability not in library.targets:
        return (
            f"{library.name} {library.version} does not run on {gpu.name} ({gpu.capability}), only "
            f"on {', '.join(library.targets)}; install tensorrt instead"
        )
    return None


# What TensorRT says while it works, kept so that errors can quote it.
#
# TensorRT takes one logger per process, and ignores any other for as long as something lives that
# was made with the first. So there is one for each library, which hands what it hears to whoever is
# listening, and to `logging` at level DEBUG; it prints nothing.


_log = logging.getLogger(__name__)
_QUOTED = 6


class Messages(list[str]):
    """Warnings and errors, in order."""

    def quoted(self) -> str:
        """The last few, to end an error's text with."""
        return "; ".join(self[-_QUOTED:]) or "it gave no reason"


@contextmanager
def listening(module: Any) -> Iterator[Messages]:
    """Collects the warnings and errors of a library's module while the block runs."""
    messages = Messages()
    listeners = logger_of(module).listeners
    listeners.append(messages)
    try:
        yield messages
    finally:
        listeners[:] = [other for other in listeners if other is not messages]


@functools.cache
def logger_of(module: Any) -> Any:
    """The one logger of a library's module; an ILogger with a list of `listeners`."""
    severity = module.ILogger.Severity
    serious = (severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR)

    class Logger(module.ILogger):  # type: ignore[misc]  # whose base is known only here
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.listeners: list[Messages] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                _log.debug("%s: %s", severity, message)
                for listener in list(self.listeners):
                    listener.append(message)

    return Logger()
