"""Opens a bundle's networks in one backend."""

from dataclasses import dataclass, replace

from dualhmr.bundle import Bundle
from dualhmr.engines.onnxruntime_engine import OnnxRuntimeNetwork
from dualhmr.engines.options import EngineOptions
from dualhmr.engines.protocol import FrozenNetwork
from dualhmr.engines.torch_engine import TorchNetwork
from dualhmr.networks import MeshRegressor, RegressorHead
from dualhmr.networks.frozen import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
)
from dualhmr.weights import load_weights


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
    backbone = FrozenBackbone(torch_main_network(bundle))
    auxiliary = FrozenAuxiliary(torch_auxiliary_network(bundle))
    return (
        TorchNetwork(backbone, backbone.reads, BACKBONE_OUTPUTS, device=device),
        TorchNetwork(auxiliary, auxiliary.reads, AUXILIARY_OUTPUTS, device=device),
    )


_OPENERS = {
    "onnxruntime": _open_onnxruntime,
    "tensorrt": _open_tensorrt,
    "torch": _open_torch,
}
NAMED_BACKENDS = tuple(_OPENERS)


def torch_head(bundle: Bundle) -> RegressorHead:
    """The main network's head in PyTorch, with its weights."""
    head = bundle.manifest.main.build().head
    load_weights(head, bundle.path("head.safetensors"))
    return head.eval()


def torch_main_network(bundle: Bundle) -> MeshRegressor:
    """The whole main network in PyTorch, with its weights."""
    network = bundle.manifest.main.build()
    load_weights(network.backbone, bundle.path("backbone.safetensors"))
    network.head = torch_head(bundle)
    return network.eval()


def torch_auxiliary_network(bundle: Bundle) -> MeshRegressor:
    """The auxiliary network in PyTorch, with its weights."""
    network = bundle.manifest.auxiliary.build()
    load_weights(network, bundle.path("auxiliary.safetensors"))
    return network.eval()
