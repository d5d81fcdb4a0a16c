"""Builds a TensorRT engine from an ONNX graph.

The engine computes in the types that the graph itself says (TensorRT: strongly typed); no flag
lowers them. float32 means float32: TF32, which rounds the factors of products to ten bits of
mantissa, and which TensorRT uses unless told otherwise, is off.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dualhmr.engines.tensorrt.library import Library
from dualhmr.engines.tensorrt.messages import Messages, listening, logger_of
from dualhmr.engines.tensorrt.parsing import parse_onnx
from dualhmr.engines.tensorrt.profile import Profile
from dualhmr.engines.tensorrt.progress import Phases, Report, progress_monitor

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
