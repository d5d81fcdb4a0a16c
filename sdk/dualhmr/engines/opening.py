"""Opens a bundle's networks in one backend."""

from dataclasses import dataclass, replace

from dualhmr.bundle import Bundle
from dualhmr.engines.onnxruntime_engine import OnnxRuntimeNetwork
from dualhmr.engines.options import EngineOptions
from dualhmr.engines.protocol import FrozenNetwork
from dualhmr.torch_extra import check_torch


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
