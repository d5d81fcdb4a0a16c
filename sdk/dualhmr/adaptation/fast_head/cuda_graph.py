"""Doing the same work on the same memory again and again: as a CUDA graph, or simply again.

`CudaReplay` has not run on a GPU yet.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

Work = Callable[[], None]
"""Reads and writes tensors that stay where they are, and never waits for the device."""

MAX_WARM_UPS = 3


class Replay(Protocol):
    """A way to do work again."""

    def capture(self, work: Work) -> Work:
        """A function that repeats `work`; capturing may do it up to `MAX_WARM_UPS` times."""
        ...


class EagerReplay:
    """Calls the work itself, on any device."""

    def __init__(self, *, warm_ups: int = 0) -> None:
        """`warm_ups` is how often `capture` does the work, as `CudaReplay` would."""
        self._warm_ups = warm_ups

    def capture(self, work: Work) -> Work:
        """The work itself."""
        for _ in range(self._warm_ups):
            work()
        return work


class CudaReplay:
    """One launch for all kernels of the work; captures share the memory for intermediate results.

    That is safe as replays follow each other on one stream and leave no results there: the work
    writes its results to memory from outside the graph.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            # One for all: cuBLAS keeps megabytes for every stream. Not that of `torch.cuda.graph`,
            # which is of the device that was the current one when it was first used.
            self._stream = torch.cuda.Stream()

    def capture(self, work: Work) -> Work:
        """Warms up, so that kernels are compiled and libraries started, and captures."""
        with torch.cuda.device(self._device), without_tf32():
            # Warm-ups must run on another stream than the default one, see `torch.cuda.graph`.
            current, stream = torch.cuda.current_stream(), self._stream
            graph = torch.cuda.CUDAGraph()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(MAX_WARM_UPS):
                    work()
            current.wait_stream(stream)
            with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
                work()

        def replay() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        return replay


def replay_for(device: torch.device) -> Replay:
    """CUDA graphs on a GPU, eager elsewhere."""
    return CudaReplay(device) if device.type == "cuda" else EagerReplay()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Products and convolutions of float32 in float32, on a GPU.

    TF32, PyTorch's default for convolutions, changes the losses by 3e-4 to 1e-3, relatively.
    """
    cudnn = torch.backends.cudnn
    with _in_float32(torch.backends.cuda.matmul), _in_float32(cudnn, getattr(cudnn, "conv", None)):
        yield


@contextmanager
def _in_float32(older: Any, newer: Any = None) -> Iterator[None]:
    """Sets the flag of `older`, or where the program has used PyTorch's newer setting, which
    cannot be mixed with it, that of `newer`."""
    owner, name = older, "allow_tf32"
    value: object = False
    try:
        before = older.allow_tf32
    except RuntimeError:
        owner, name, value = newer or older, "fp32_precision", "ieee"
        before = owner.fp32_precision
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
