"""Choosing the backend: the one that is named, or the fastest that works here."""

import dataclasses
import logging

from dualhmr.bundle import Bundle
from dualhmr.engines.opening import NAMED_BACKENDS, FrozenNetworks, open_backend
from dualhmr.engines.options import EngineOptions

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
