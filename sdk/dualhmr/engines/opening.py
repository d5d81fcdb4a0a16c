"""Opens a bundle's networks in one backend."""

import dataclasses
import logging
from dataclasses import dataclass, replace

from dualhmr.arrays import check_torch
from dualhmr.bundle import Bundle
from dualhmr.engines.frozen_network import EngineOptions, FrozenNetwork
from dualhmr.engines.onnxruntime_network import OnnxRuntimeNetwork


@dataclass(frozen=True)
class FrozenNetworks:
    """The two networks that are run once per person."""

    backbone: FrozenNetwork
    auxiliary: FrozenNetwork
    backend: str
    """The one that runs them: "onnxruntime", "tensorrt" or "torch"."""

    @property
    def runs_on(self) -> str:
        """What really runs them, for people to read."""
        return self.backbone.runs_on


def open_backend(
    bundle: Bundle, backend: str, *, device: str, options: EngineOptions
) -> FrozenNetworks:
    """Both networks in one of `NAMED_BACKENDS`; raises as `open_networks` does."""
    if options.provider is not None and backend != "onnxruntime":
        raise ValueError(
            f"provider {options.provider!r} is one of ONNX Runtime, not of backend {backend!r}; "
            'use backend="onnxruntime", or leave the provider out'
        )
    return FrozenNetworks(*_OPENERS[backend](bundle, device, options), backend=backend)


_Pair = tuple[FrozenNetwork, FrozenNetwork]


def _open_onnxruntime(bundle: Bundle, device: str, options: EngineOptions) -> _Pair:
    def opened(file: str) -> FrozenNetwork:
        precision = bundle.manifest.precision
        return OnnxRuntimeNetwork(
            bundle.path(file), device=device, options=options, precision=precision
        )

    return opened("backbone.onnx"), opened("auxiliary.onnx")


def _open_tensorrt(bundle: Bundle, device: str, options: EngineOptions) -> _Pair:
    from dualhmr.engines.tensorrt import TensorRTNetwork

    options = replace(options, max_batch=options.max_batch or bundle.manifest.max_batch)

    def opened(file: str) -> FrozenNetwork:
        return TensorRTNetwork(bundle.path(file), device=device, options=options)

    return opened("backbone.onnx"), opened("auxiliary.onnx")


def _open_torch(bundle: Bundle, device: str, _options: EngineOptions) -> _Pair:
    check_torch("backend 'torch'")
    from dualhmr.engines.torch_networks import frozen_torch_networks

    return frozen_torch_networks(bundle, device=device)


_OPENERS = {
    "onnxruntime": _open_onnxruntime,
    "tensorrt": _open_tensorrt,
    "torch": _open_torch,
}
NAMED_BACKENDS = tuple(_OPENERS)


AUTO = "auto"
BACKENDS = (AUTO, *NAMED_BACKENDS)
_FASTEST_FIRST = {"cpu": ("onnxruntime", "torch"), "cuda": ("tensorrt", "onnxruntime", "torch")}
_log = logging.getLogger("dualhmr")


def open_networks(
    bundle: Bundle,
    backend: str = AUTO,
    *,
    device: str = "cpu",
    options: EngineOptions | None = None,
) -> FrozenNetworks:
    """Opens both frozen networks of `bundle` in one of `BACKENDS` on "cpu", "cuda" or "cuda:1".

    "auto" takes the fastest that can be had, and tells the logger "dualhmr" why others could not.

    Raises ValueError for an unknown backend, options that contradict each other or a damaged file;
    and where the backend cannot be had: ImportError for what is not installed, FileNotFoundError
    where the bundle came without what it needs, RuntimeError for device, provider or precision.
    """
    options = options or EngineOptions()
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
    if device.partition(":")[0] not in _FASTEST_FIRST:
        raise ValueError(f"unknown device {device!r}; known are {', '.join(_FASTEST_FIRST)}")
    if backend == AUTO and options.provider is not None:
        backend = "onnxruntime"
    if backend != AUTO:
        return open_backend(bundle, backend, device=device, options=options)
    return _open_fastest(bundle, device, options)


def _open_fastest(bundle: Bundle, device: str, options: EngineOptions) -> FrozenNetworks:
    kind = device.partition(":")[0]
    passed_over = []
    for backend in _FASTEST_FIRST[kind]:
        # By name, ONNX Runtime's provider of the device is taken or refused, never exchanged.
        strict = dataclasses.replace(options, provider=kind if backend == "onnxruntime" else None)
        try:
            networks = open_backend(bundle, backend, device=device, options=strict)
        except (ImportError, FileNotFoundError, RuntimeError) as error:
            _log.info("backend %s is passed over: %s", backend, error)
            passed_over.append(f"{backend}: {error}")
        else:
            _log.info("backend %s is taken: %s", backend, networks.runs_on)
            return networks
    raise RuntimeError(f"no backend can be had on device {device!r}: {'; '.join(passed_over)}")
