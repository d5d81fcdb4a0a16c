"""Builds a TensorRT engine from an ONNX graph.

The engine computes in the types of the graph (TensorRT: strongly typed). One flag lowers them:
TF32, which is on by default in TensorRT, rounds factors to 10 bits of mantissa. Here it is off
unless it is asked for.
"""

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dualhmr.engines.tensorrt.library import Library, Messages, listening, logger_of

_LARGEST_BATCH = 4096
_LONGEST_NAME = 4095  # bytes; TensorRT cuts off longer names of engines
_log = logging.getLogger(__name__)


class BuiltEngine(NamedTuple):
    """A serialised engine, and the timing cache for the next build on the same GPU, if any."""

    engine: bytes
    timing_cache: bytes | None


def batch_profiles(max_batch: int) -> tuple[tuple[int, int, int], ...]:
    """Ranges of batches that an engine is tuned for: the smallest, the best, and the largest.

    Most photographs have one person; a stream or a group fills batches.
    """
    return ((1, 1, 1), (2, max_batch, max_batch)) if max_batch > 1 else ((1, 1, 1),)


def profile_for(persons: int, profiles: int) -> int:
    """Which of an engine's `profiles` a batch takes."""
    return min(1, profiles - 1) if persons > 1 else 0


def build_engine(
    onnx: bytes,
    *,
    max_batch: int,
    library: Library,
    path: Path | None = None,
    target: str | None = None,
    timing_cache: bytes | None = None,
    metadata: Mapping[str, object] | None = None,
    tf32: bool = False,
) -> BuiltEngine:
    """Builds an engine for 1 to `max_batch` persons, by `batch_profiles`. Ctrl-C ends the build.

    `onnx`: the content of an ONNX file; the first dimension of an input is fixed or the number of
    persons, and all others are fixed. `path`: the file's, whose folder has weights that are not in
    it; TensorRT follows what the graph says, so `check_onnx` comes first. `target`: the compute
    capability to build for, as "sm86", which needs no GPU; None: the current GPU. `timing_cache`:
    of an earlier build. `metadata`: becomes the engine's name (`ICudaEngine.name`), as compact
    JSON. `tf32`: see `EngineOptions`.

    Raises ValueError for a graph that is damaged, has other open dimensions or that TensorRT cannot
    run, and for a `max_batch` or `target` out of range; RuntimeError, with TensorRT's messages,
    where the build fails.
    """
    name = json.dumps(dict(metadata or {}), separators=(",", ":"), sort_keys=True)
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"metadata is {len(name)} characters of JSON; at most {_LONGEST_NAME} fit")
    if not 1 <= max_batch <= _LARGEST_BATCH:
        raise ValueError(f"max_batch must be from 1 to {_LARGEST_BATCH}, got {max_batch}")
    check_target(library, target)
    started = time.perf_counter()
    trt = library.module
    with listening(trt) as messages:
        try:
            builder = trt.Builder(logger_of(trt))
        except Exception as error:  # pybind's TypeError, when CUDA cannot be started
            raise RuntimeError(f"{library} cannot start building: {messages.quoted()}") from error
        # TensorRT 10 needs the flag. In 11 and RTX all networks are strongly typed; the flag has no
        # effect, is deprecated, and may be gone.
        flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if flag is None else 1 << int(flag))
        network.name = name
        _parse(onnx, path, network, library)
        config = builder.create_builder_config()
        if (flag := getattr(trt.BuilderFlag, "TF32", None)) is not None:
            (config.set_flag if tf32 else config.clear_flag)(flag)
        _set_target(config, library, target)
        _set_profiles(builder, config, network, max_batch, messages)
        if library.times_kernels:
            _set_timing_cache(config, timing_cache)
        with _deferred_interrupt() as interrupted:
            monitor = _progress_monitor(trt, interrupted)  # has to outlive the build
            config.progress_monitor = monitor
            plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeError(
                f"{library} could not build the engine for "
                f"{target or 'the GPU of this machine'}: {messages.quoted()}"
            )
    _log.info("%s built an engine in %.1f s", library, time.perf_counter() - started)
    times = bytes(config.get_timing_cache().serialize()) if library.times_kernels else None
    return BuiltEngine(bytes(plan), times)


def check_target(library: Library, target: str | None) -> None:
    """Raises ValueError unless the library can build for `target`; None is this machine's GPU."""
    if target is None or target in library.targets:
        return
    if not library.builds_for_others:
        raise ValueError(
            f"{library.name} builds for the GPU of this machine only, not for {target!r}: leave "
            "the target out, or install tensorrt-rtx, which builds for others"
        )
    raise ValueError(f"{library} builds for {', '.join(library.targets)}, not for {target!r}")


def _parse(onnx: bytes, path: Path | None, network: Any, library: Library) -> None:
    """Adds the content of an ONNX file to an empty network, or raises ValueError."""
    parser = library.module.OnnxParser(network, logger_of(library.module))
    parsed = parser.parse(onnx, str(path) if path else None)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = "; ".join(
        f"node {error.node_name()!r} ({operator}): {error.desc()}"
        if (operator := error.node_operator())
        else error.desc()
        for error in errors
    )
    if not parsed and any(error.node_operator() for error in errors):
        raise ValueError(f"{library} cannot run the ONNX graph: {reasons}")
    # It parses an empty file, and some damaged ones, as a network without inputs and outputs.
    if not parsed or network.num_inputs == 0 or network.num_outputs == 0:
        raise ValueError(
            f"{library} cannot read the ONNX graph, of {len(onnx)} bytes; it is truncated, damaged "
            f"or no ONNX file: {reasons or 'it holds no network'}"
        )


def _set_target(config: Any, library: Library, target: str | None) -> None:
    if not library.builds_for_others:
        return
    config.num_compute_capabilities = 1
    capabilities = library.module.ComputeCapability.__members__
    if not config.set_compute_capability(capabilities[(target or "current").upper()], 0):
        raise RuntimeError(f"{library} refuses the target {target}")


def _set_profiles(
    builder: Any, config: Any, network: Any, max_batch: int, messages: Messages
) -> None:
    batched: dict[str, tuple[int, ...]] = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            raise ValueError(
                f"input {tensor.name!r} has the shape {shape}, where -1 is open; only the first "
                "dimension, the number of persons, may be: export it with the others fixed"
            )
        if shape[:1] == (-1,):
            batched[tensor.name] = shape[1:]
    for sizes in batch_profiles(max_batch) if batched else ():
        shapes = builder.create_optimization_profile()
        for name, rest in batched.items():
            shapes.set_shape(name, *((size, *rest) for size in sizes))
        if config.add_optimization_profile(shapes) < 0:
            raise RuntimeError(f"TensorRT refuses batches of {sizes}: {messages.quoted()}")


def _set_timing_cache(config: Any, data: bytes | None) -> None:
    cache = config.create_timing_cache(data) if data else None
    if cache is None or not config.set_timing_cache(cache, False):  # of another GPU, or damaged
        config.set_timing_cache(config.create_timing_cache(b""), False)


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets during the block; KeyboardInterrupt is raised at its end.

    TensorRT calls Python from C++ while it builds, and an exception there would end the process.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # Python handles signals in the main thread only
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if interrupted.is_set():
        raise KeyboardInterrupt


def _progress_monitor(trt: Any, interrupted: threading.Event) -> Any:
    """Logs the phases of a build, and ends it once `interrupted` is set."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base is not known to mypy
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, _parent: str | None, steps: int) -> None:
            _log.debug("%s, %d steps", name, steps)

        def step_complete(self, _name: str, _step: int) -> bool:
            return not interrupted.is_set()  # False ends the build

        def phase_finish(self, name: str) -> None:
            pass

    return Monitor()
