"""Builds a TensorRT engine from an ONNX graph."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dualhmr.engines.tensorrt.library import Library, Messages, listening, logger_of

_MOST = 4096


@dataclass(frozen=True)
class Profile:
    """The fewest persons that an engine takes at once, the number it is fastest for, the most."""

    min_batch: int
    opt_batch: int
    max_batch: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch <= _MOST:
            raise ValueError(
                f"a profile needs 1 <= min <= opt <= max <= {_MOST} persons, got "
                f"min {self.min_batch}, opt {self.opt_batch}, max {self.max_batch}"
            )

    def __str__(self) -> str:
        return f"{self.min_batch}-{self.opt_batch}-{self.max_batch}"


def profile_up_to(max_batch: int) -> Profile:
    """The profile for photographs: any number up to `max_batch`, fastest for one person."""
    return Profile(1, 1, max_batch)


@dataclass(frozen=True)
class Progress:
    """One report."""

    phase: str
    """What TensorRT is doing, in its own words, which differ between its versions."""
    fraction: float
    """Of the whole build, from 0 to 1; never falls. Not of its time: phases differ."""
    seconds: float
    """Since the build began."""

    def __str__(self) -> str:
        return f"{self.fraction:4.0%} after {self.seconds:.1f} s: {self.phase}"


Report = Callable[[Progress], None]


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


@dataclass
class Phases:
    """Phases within phases, and the fraction that is done of them all. Takes calls from threads."""

    report: Report | None
    raised: BaseException | None = None
    """What a report raised while TensorRT was calling; the build is to end with it."""
    _phases: dict[str, _Phase] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)
    _fraction: float = 0.0
    _told: tuple[int, float] = (-1, 0.0)
    """Percent and seconds of the last report."""
    _lock: Any = field(default_factory=threading.RLock)

    @property
    def seconds(self) -> float:
        """Since this began."""
        return time.perf_counter() - self._started

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within a step of `parent`."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self.tell(name, self._done(None))

    def step(self, name: str, number: int) -> None:
        """A phase's step is done."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = number + 1
                self.tell(name, self._done(None))

    def finish(self, name: str) -> None:
        """A phase ends."""
        with self._lock:
            self._phases.pop(name, None)

    def tell(self, phase: str, fraction: float) -> None:
        """Reports every percent and every second; `fraction`, or what was told before if more."""
        self._fraction = max(self._fraction, min(fraction, 1.0))
        percent, seconds = int(100 * self._fraction), self.seconds
        if percent == self._told[0] and seconds < self._told[1] + 1:
            return
        self._told = percent, seconds
        if self.report is not None and self.raised is None:
            self.report(Progress(phase, self._fraction, seconds))

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keeps what the block raises, as TensorRT's code, which calls it, could not bear it."""
        try:
            yield
        except BaseException as error:  # Ctrl-C as well
            self.raised = self.raised or error

    def _done(self, parent: str | None) -> float:
        return sum(
            (phase.done + self._done(name)) / phase.steps
            for name, phase in self._phases.items()
            if phase.parent == parent
        )


def progress_monitor(module: Any, phases: Phases) -> Any | None:
    """TensorRT's view of `phases`; None for a version that reports nothing."""
    base: Any = getattr(module, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc]  # whose base is known only here
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with phases.keeping():
                phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            with phases.keeping():
                phases.step(name, step)
            return phases.raised is None  # False ends the build

        def phase_finish(self, name: str) -> None:
            with phases.keeping():
                phases.finish(name)

    return Monitor()


def parse_onnx(onnx: bytes, network: Any, library: Library) -> None:
    """Adds the content of an ONNX file to an empty network.

    Raises ValueError, which names the nodes that TensorRT cannot run, or says that the content is
    damaged.
    """
    parser = library.module.OnnxParser(network, logger_of(library.module))
    understood = parser.parse(onnx)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = "; ".join(_described(error) for error in errors)
    who = f"{library.name} {library.version}"
    if not understood and any(error.node_operator() for error in errors):
        raise ValueError(f"{who} cannot run the ONNX graph: {reasons}")
    # It takes an empty file, and some damaged ones, for a network without inputs and outputs.
    if not understood or network.num_inputs == 0 or network.num_outputs == 0:
        raise ValueError(
            f"{who} cannot read the ONNX graph, of {len(onnx)} bytes; it is truncated, damaged or "
            f"no ONNX file: {reasons or 'it holds no network'}"
        )


def _described(error: Any) -> str:
    operator = error.node_operator()
    node = f"node {error.node_name()!r} ({operator}): " if operator else ""
    return f"{node}{error.desc()}"


# Builds a TensorRT engine from an ONNX graph.
#
# The engine computes in the types that the graph itself says (TensorRT: strongly typed); no flag
# lowers them. float32 means float32: TF32, which rounds the factors of products to ten bits of
# mantissa, and which TensorRT uses unless told otherwise, is off.


_LONGEST_NAME = 4095  # bytes that TensorRT keeps of a name


@dataclass(frozen=True)
class BuiltEngine:
    """A serialised engine and what its building left."""

    engine: bytes
    timing_cache: bytes | None
    """To be given to the next build on the same GPU; None for a library that has none."""
    seconds: float
    warnings: tuple[str, ...]
    """What TensorRT complained of."""


def build_engine(
    onnx: bytes,
    *,
    profile: Profile,
    library: Library,
    target: str | None = None,
    timing_cache: bytes | None = None,
    progress: Report | None = None,
    metadata: Mapping[str, object] | None = None,
) -> BuiltEngine:
    """Builds an engine for any number of persons within `profile`.

    `onnx`: a whole ONNX file, weights included; the first dimension of an input is either fixed or
    the number of persons, and all others are fixed. `target`: the compute capability to build for,
    as "sm86", which needs no GPU; None: the current GPU. `timing_cache`: from an earlier build.
    `progress`: is told how far the build has come; what it raises, and Ctrl-C, ends the build.
    `metadata`: becomes the engine's name (`ICudaEngine.name`), as compact JSON.

    Raises ValueError for a graph that is damaged, that TensorRT cannot run, or whose shapes are
    others than said, and for a target that the library does not know; RuntimeError, with
    TensorRT's words, where the build fails.
    """
    phases = Phases(progress)
    name = json.dumps(dict(metadata or {}), separators=(",", ":"), sort_keys=True)
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"metadata is {len(name)} characters of JSON; at most {_LONGEST_NAME} fit")
    _check_target(library, target)
    trt = library.module
    with listening(trt) as messages:
        try:
            builder = trt.Builder(logger_of(trt))
        except Exception as error:  # pybind's TypeError, when CUDA cannot be started
            raise RuntimeError(
                f"{library.name} {library.version} cannot start building: {messages.quoted()}"
            ) from error
        network = builder.create_network(_creation_flags(trt))
        network.name = name
        parse_onnx(onnx, network, library)
        config = builder.create_builder_config()
        _set_types(trt, config)
        _set_target(trt, config, library, target)
        _set_profile(builder, config, network, profile, messages)
        if library.times_kernels:
            _set_timing_cache(config, timing_cache)
        monitor = progress_monitor(trt, phases)
        if monitor is not None:
            config.progress_monitor = monitor
        phases.tell("starting", 0.0)
        plan = builder.build_serialized_network(network, config)
        if phases.raised is not None:
            raise phases.raised
        if plan is None:
            raise RuntimeError(
                f"{library.name} {library.version} could not build the engine for "
                f"{target or 'the GPU of this machine'}: {messages.quoted()}"
            )
        times = bytes(config.get_timing_cache().serialize()) if library.times_kernels else None
        engine = bytes(plan)
    phases.tell("built", 1.0)
    return BuiltEngine(engine, times, phases.seconds, tuple(messages))


def _creation_flags(trt: Any) -> int:
    # Needed in 10; in 11 and in RTX every network is strongly typed, and the flag is deprecated
    # and without effect, to be gone one day.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _set_types(trt: Any, config: Any) -> None:
    tf32 = getattr(trt.BuilderFlag, "TF32", None)
    if tf32 is not None:
        config.clear_flag(tf32)


def _check_target(library: Library, target: str | None) -> None:
    if target is None or target in library.targets:
        return
    if not library.builds_for_others:
        raise ValueError(
            f"{library.name} builds for the GPU of this machine only, not for {target!r}: leave "
            "the target out, or install tensorrt-rtx, which builds for others"
        )
    raise ValueError(
        f"{library.name} {library.version} builds for {', '.join(library.targets)}, not for "
        f"{target!r}"
    )


def _set_target(trt: Any, config: Any, library: Library, target: str | None) -> None:
    if not library.builds_for_others:
        return
    config.num_compute_capabilities = 1
    capability = trt.ComputeCapability.__members__[target.upper() if target else "CURRENT"]
    if not config.set_compute_capability(capability, 0):
        raise RuntimeError(f"{library.name} {library.version} refuses the target {target}")


def _set_profile(
    builder: Any, config: Any, network: Any, profile: Profile, messages: Messages
) -> None:
    shapes = builder.create_optimization_profile()
    batched = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            raise ValueError(
                f"input {tensor.name!r} has the shape {shape}, where -1 is free; only the first "
                "dimension, the number of persons, may be: export it with the others fixed"
            )
        if shape[:1] == (-1,):
            sizes = (profile.min_batch, profile.opt_batch, profile.max_batch)
            shapes.set_shape(tensor.name, *((size, *shape[1:]) for size in sizes))
            batched = True
    if batched and config.add_optimization_profile(shapes) < 0:
        raise RuntimeError(f"TensorRT refuses the profile {profile}: {messages.quoted()}")


def _set_timing_cache(config: Any, data: bytes | None) -> None:
    cache = config.create_timing_cache(data) if data else None
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
