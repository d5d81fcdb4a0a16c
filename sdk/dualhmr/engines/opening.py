"""Opens a bundle's networks in an engine."""

from typing import NamedTuple

from dualhmr.bundle import Bundle
from dualhmr.engines.onnxruntime_engine import OnnxRuntimeNetwork
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

ENGINES = ("onnxruntime", "torch")


class FrozenNetworks(NamedTuple):
    """The two networks that are run once per person."""

    backbone: FrozenNetwork
    auxiliary: FrozenNetwork


def open_engine(bundle: Bundle, engine: str, *, device: str = "cpu") -> FrozenNetworks:
    """Opens both frozen networks of `bundle` in `engine` on `device` ("cpu", "cuda", "cuda:1").

    Raises ValueError for an unknown engine or a damaged file, FileNotFoundError where the bundle
    came without what the engine needs, RuntimeError where the device is not to be had.
    """
    if engine == "onnxruntime":
        return FrozenNetworks(
            OnnxRuntimeNetwork(bundle.path("backbone.onnx"), device=device),
            OnnxRuntimeNetwork(bundle.path("auxiliary.onnx"), device=device),
        )
    if engine == "torch":
        backbone = FrozenBackbone(torch_main_network(bundle))
        auxiliary = FrozenAuxiliary(torch_auxiliary_network(bundle))
        return FrozenNetworks(
            TorchNetwork(backbone, backbone.reads, BACKBONE_OUTPUTS, device=device),
            TorchNetwork(auxiliary, auxiliary.reads, AUXILIARY_OUTPUTS, device=device),
        )
    raise ValueError(f"unknown engine {engine!r}; known are {', '.join(ENGINES)}")


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
