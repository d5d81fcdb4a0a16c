"""The installed TensorRT (`tensorrt` 10 or 11, or `tensorrt_rtx`), its log, and the GPU.

The libraries are imported by name, and only when they are used.
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
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """One of the two libraries, imported. This package calls only what both have."""

    module: Any
    name: str
    """"tensorrt" or "tensorrt_rtx"."""
    version: str
    cuda_version: str
    """The CUDA that it was built for, as "13"; PyTorch's if its package does not say; "unknown"."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def builds_for_others(self) -> bool:
        """Whether it builds engines without their GPU, for all GPUs of a compute capability."""
        return self.name == "tensorrt_rtx"

    @property
    def compiles_when_run(self) -> bool:
        """Whether engines compile their kernels for a GPU when they run on it."""
        return self.name == "tensorrt_rtx"

    @property
    def times_kernels(self) -> bool:
        """Whether a timing cache speeds up its builds. RTX compiles its kernels when they run: a
        timing cache changes nothing, and creating one needs a GPU.
        """
        return self.name == "tensorrt"

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities that engines can be built for by name, as "sm86"."""
        if not self.builds_for_others:
            return ()
        members = self.module.ComputeCapability.__members__
        return tuple(name.lower() for name in members if name not in ("NONE", "CURRENT"))


def load_library(name: str | None = None) -> Library:
    """Imports TensorRT: the library of that name, or the first of `LIBRARIES` that is installed.

    Raises ValueError for another name, and ImportError, which says what to install, where there is
    none or it cannot be loaded.
    """
    if name is not None and name not in LIBRARIES:
        raise ValueError(f"unknown library {name!r}; known are {', '.join(LIBRARIES)}")
    problems = []
    for candidate in LIBRARIES if name is None else (name,):
        try:
            module = importlib.import_module(candidate)
        except (ImportError, OSError) as error:  # OSError: a shared library is missing
            problems.append(f"{candidate}: {error}")
            continue
        version = str(module.__version__)
        return Library(module, candidate, version, _cuda_version(candidate, version))
    raise ImportError(
        f"TensorRT cannot be imported ({'; '.join(problems)}). Install it to match your CUDA: "
        'pip install "dualhmr[cuda13]" (or cuda12) for any NVIDIA GPU, or '
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
    array_library: str
    """The library that found it and whose arrays are used on it: "torch" or "cupy"."""


def find_gpu(device: str = "cuda") -> Gpu | None:
    """The GPU of "cuda" (the current one) or "cuda:1"; None where there is no such GPU.

    Raises ValueError for a device of another form.
    """
    form = re.fullmatch(r"cuda(?::(\d+))?", device)
    if form is None:
        raise ValueError(f'TensorRT runs on "cuda" or "cuda:1", not on {device!r}')
    index = int(form[1]) if form[1] else None
    if torch_installed():
        torch = importlib.import_module("torch")
        # PyTorch for AMD calls its GPUs "cuda" too.
        if torch.cuda.is_available() and torch.version.cuda is not None:
            return _find_with_torch(torch, index)
    return _find_with_cupy(index or 0)


def _find_with_torch(torch: Any, index: int | None) -> Gpu | None:
    if index is None:
        index = int(torch.cuda.current_device())
    if index >= torch.cuda.device_count():
        return None
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(index, str(torch.cuda.get_device_name(index)), f"sm{major}{minor}", "torch")


def _find_with_cupy(index: int) -> Gpu | None:
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # no CuPy, or no driver: its exceptions differ between versions
        return None
    if index >= count:
        return None
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return Gpu(index, name, f"sm{cupy.cuda.Device(index).compute_capability}", "cupy")


def library_and_gpu(device: str = "cuda") -> tuple[Library, Gpu]:
    """What TensorRT runs with on `device`.

    Raises ValueError for a device of another form, ImportError without TensorRT, RuntimeError
    without such a GPU, or with one that the library does not support.
    """
    gpu = find_gpu(device)
    library = load_library()
    if gpu is None:
        raise RuntimeError(
            f"TensorRT needs an NVIDIA GPU, and neither PyTorch nor CuPy finds one as {device!r}; "
            "install PyTorch with CUDA and NVIDIA's driver, or choose another engine"
        )
    if library.builds_for_others and gpu.capability not in library.targets:
        raise RuntimeError(
            f"{library} does not run on {gpu.name} ({gpu.capability}), only on "
            f"{', '.join(library.targets)}; install tensorrt instead"
        )
    return library, gpu


class Messages(list[str]):
    """Warnings and errors of TensorRT, in order."""

    def quoted(self) -> str:
        """The last few, as the end of an error's text."""
        return "; ".join(self[-6:]) or "it gave no reason"


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
    """The logger for a library's module: an ILogger with a list of `listeners`; it prints nothing.

    There is one per process, because TensorRT ignores a second one while any object lives that was
    made with the first.
    """
    severity = module.ILogger.Severity
    serious = (severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR)

    class Logger(module.ILogger):  # type: ignore[misc]  # the base class is not known to mypy
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.listeners: list[Messages] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                _log.debug("%s: %s", severity, message)
                for listener in list(self.listeners):
                    listener.append(message)

    return Logger()
