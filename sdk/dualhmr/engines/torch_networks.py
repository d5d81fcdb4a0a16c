"""A bundle's networks in PyTorch, with its weights."""

from dualhmr.bundle import Bundle
from dualhmr.engines.torch_engine import TorchNetwork
from dualhmr.networks import MeshRegressor, RegressorHead
from dualhmr.networks.frozen import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
)
from dualhmr.weights import load_weights


def torch_head(bundle: Bundle) -> RegressorHead:
    """The main network's head."""
    head = bundle.manifest.main.build().head
    load_weights(head, bundle.path("head.safetensors"))
    return head.eval()


def torch_main_network(bundle: Bundle) -> MeshRegressor:
    """The whole main network."""
    network = bundle.manifest.main.build()
    load_weights(network.backbone, bundle.path("backbone.safetensors"))
    network.head = torch_head(bundle)
    return network.eval()


def torch_auxiliary_network(bundle: Bundle) -> MeshRegressor:
    """The auxiliary network."""
    network = bundle.manifest.auxiliary.build()
    load_weights(network, bundle.path("auxiliary.safetensors"))
    return network.eval()


def frozen_torch_networks(bundle: Bundle, *, device: str) -> tuple[TorchNetwork, TorchNetwork]:
    """The main network's backbone, and the auxiliary network."""
    backbone = FrozenBackbone(torch_main_network(bundle))
    auxiliary = FrozenAuxiliary(torch_auxiliary_network(bundle))
    return (
        TorchNetwork(backbone, backbone.reads, BACKBONE_OUTPUTS, device=device),
        TorchNetwork(auxiliary, auxiliary.reads, AUXILIARY_OUTPUTS, device=device),
    )
