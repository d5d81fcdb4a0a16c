"""Opens a bundle's frozen networks in the engine that is asked for, or in the fastest."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dualhmr.arrays import check_torch
from dualhmr.bundle import FROZEN_GRAPHS, Bundle
from dualhmr.engines.checked_network import checked_pair
from dualhmr.engines.frozen_network import (
    DEFAULT_MAX_BATCH,
    Arrays,
    DLPackArray,
    EngineOptions,
    FrozenNetwork,
)
from dualhmr.engines.onnx_check import check_onnx
from dualhmr.engines.onnxruntime_network import OnnxRuntimeNetwork
from dualhmr.groups import GROUP_SIZES

_Pair = tuple[FrozenNetwork, FrozenNetwork]
_log = logging.getLogger("dualhmr")


@dataclass(frozen=True)
class FrozenNetworks:
    """The two networks that run once per person."""

    backbone: FrozenNetwork
    auxiliary: FrozenNetwork
    backend: str
    """The engine that runs them: "onnxruntime", "tensorrt" or "torch"."""
    batch_sizes: tuple[int, ...] = (1,)
    """How many persons to run them on at a time, ascending; a smaller group is filled up.

    On a CPU, one: a batch is no faster, and its last bits depend on its size. On a GPU a few, as
    engines and libraries choose and keep what is fastest for each.
    """

    @property
    def runs_on(self) -> str:
        """The engine and the device in use, for people to read."""
        return self.backbone.runs_on

    @property
    def reads(self) -> frozenset[str]:
        """Names of what either network reads."""
        return frozenset((*self.backbone.reads, *self.auxiliary.reads))

    def pseudo_mesh(self, inputs: Mapping[str, Any], features: DLPackArray) -> Arrays:
        """What the auxiliary network gives for inputs by name; it may read the main's features."""
        if "features" in self.auxiliary.reads:
            inputs = {**inputs, "features": features}
        return self.auxiliary(inputs)


def _open_onnxruntime(bundle: Bundle, device: str, options: EngineOptions) -> _Pair:
    backbone, auxiliary = (
        OnnxRuntimeNetwork(
            bundle.path(file), device=device, options=options, precision=bundle.manifest.precision
        )
        for file in FROZEN_GRAPHS
    )
    return backbone, auxiliary


def _open_tensorrt(bundle: Bundle, device: str, options: EngineOptions) -> _Pair:
    from dualhmr.engines.tensorrt.run import TensorRTNetwork

    check_tensorrt_precision(bundle.manifest.precision)
    for file in FROZEN_GRAPHS:
        check_onnx(bundle.path(file))
    options = replace(options, max_batch=options.max_batch or bundle.manifest.max_batch)
    backbone, auxiliary = (
        TensorRTNetwork(bundle.path(file), device=device, options=options) for file in FROZEN_GRAPHS
    )
    return backbone, auxiliary


def check_tensorrt_precision(precision: str) -> None:
    """Raises RuntimeError for graphs of unsigned integers, which TensorRT does not take."""
    if precision == "int8":
        raise RuntimeError(
            "int8 bundles are for ONNX Runtime on a CPU; for TensorRT export the bundle with "
            "--precision fp16"
        )


def _open_torch(bundle: Bundle, device: str, options: EngineOptions) -> _Pair:
    check_torch("backend 'torch'")
    from dualhmr.engines.torch_networks import frozen_torch_networks

    return frozen_torch_networks(bundle, device=device, options=options)


_OPENERS: dict[str, Callable[[Bundle, str, EngineOptions], _Pair]] = {
    "onnxruntime": _open_onnxruntime,
    "tensorrt": _open_tensorrt,
    "torch": _open_torch,
}
AUTO = "auto"
BACKENDS = (AUTO, *_OPENERS)
"""What `backend=` can be."""
_FASTEST_FIRST = {"cpu": ("onnxruntime", "torch"), "cuda": ("tensorrt", "onnxruntime", "torch")}


def open_networks(
    bundle: Bundle,
    backend: str = AUTO,
    *,
    device: str = "cpu",
    options: EngineOptions | None = None,
) -> FrozenNetworks:
    """Opens both frozen networks of `bundle` in one of `BACKENDS` on "cpu", "cuda" or "cuda:1".

    "auto" takes the fastest backend that works; the logger "dualhmr" says why others were skipped.

    Raises ValueError for an unknown backend, options that contradict each other or a damaged file;
    and where the backend does not work: ImportError for what is not installed, FileNotFoundError
    where the bundle lacks a file that it needs, RuntimeError for device, provider or precision.
    """
    options = options or EngineOptions()
    kind = device.partition(":")[0]
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
    if kind not in _FASTEST_FIRST:
        raise ValueError(f"unknown device {device!r}; known are {', '.join(_FASTEST_FIRST)}")
    if backend == AUTO and options.provider is None:
        return _open_fastest(bundle, device, options)
    if backend == AUTO:
        backend = "onnxruntime"
    if options.provider is not None and backend != "onnxruntime":
        raise ValueError(
            f"provider {options.provider!r} is one of ONNX Runtime, not of backend {backend!r}; "
            'use backend="onnxruntime", or leave the provider out'
        )
    pair = _OPENERS[backend](bundle, device, options)
    suffix = ".safetensors" if backend == "torch" else ".onnx"
    pair = checked_pair(bundle, *pair, suffix=suffix)
    sizes = _batch_sizes(bundle, options, backend) if kind == "cuda" else (1,)
    return FrozenNetworks(*pair, backend=backend, batch_sizes=sizes)


def _batch_sizes(bundle: Bundle, options: EngineOptions, backend: str) -> tuple[int, ...]:
    largest = options.max_batch or bundle.manifest.max_batch or DEFAULT_MAX_BATCH
    if backend == "torch":  # nothing is built for a largest batch
        largest = options.max_batch or GROUP_SIZES[-1]
    return (*(size for size in GROUP_SIZES if size < largest), largest)


def _open_fastest(bundle: Bundle, device: str, options: EngineOptions) -> FrozenNetworks:
    kind = device.partition(":")[0]
    skipped = []
    for backend in _FASTEST_FIRST[kind]:
        # A provider that is named is used or refused. Without its name, ONNX Runtime would fall
        # back to the CPU, and PyTorch on the GPU would never get its turn.
        strict = replace(options, provider=kind if backend == "onnxruntime" else None)
        try:
            networks = open_networks(bundle, backend, device=device, options=strict)
        except (ImportError, FileNotFoundError, RuntimeError) as error:
            _log.info("backend %s is skipped: %s", backend, error)
            skipped.append(f"{backend}: {error}")
        else:
            _log.info("backend %s is used: %s", backend, networks.runs_on)
            return networks
    raise RuntimeError(f"no backend works on device {device!r}: {'; '.join(skipped)}")
