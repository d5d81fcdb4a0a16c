"""A bundle's networks in PyTorch: the reference that the other engines are tested against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from dualhmr.bundle import Bundle, NetworkSpec
from dualhmr.engines.frozen_network import Arrays, DLPackArray
from dualhmr.networks import Backbone, MeshRegressor, RegressorHead
from dualhmr.networks.regressor import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
    FrozenHead,
)
from dualhmr.torch_threads import one_thread, usable_threads
from dualhmr.untrusted import brief
from dualhmr.weights import load_weights


def as_tensor(array: DLPackArray, device: str) -> Tensor:
    """The array as a tensor on `device`; shares memory where it can."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # PyTorch has no read-only tensors
    tensor = array if isinstance(array, Tensor) else from_dlpack(array)
    return tensor.to(device)


class TorchNetwork:
    """A PyTorch module with named inputs and outputs."""

    def __init__(
        self, module: nn.Module, reads: tuple[str, ...], outputs: tuple[str, ...], *, device: str
    ) -> None:
        """Moves `module` to `device` and puts it into evaluation mode."""
        self._module = module.eval().requires_grad_(False).to(device)
        self._outputs = outputs
        self._device = device
        self.reads = reads

    @property
    def runs_on(self) -> str:
        """Engine, version and device."""
        return f"torch {torch.__version__} {self._device}"

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to outputs by name."""
        with usable_threads():
            results = self._module(*(as_tensor(inputs[name], self._device) for name in self.reads))
        results = results if isinstance(results, tuple) else (results,)
        return dict(zip(self._outputs, results, strict=True))


def torch_head(bundle: Bundle) -> RegressorHead:
    """The main network's head."""
    return _loaded(_without_memory(bundle.manifest.main).head, bundle.path("head.safetensors"))


def torch_main_network(bundle: Bundle) -> MeshRegressor:
    """The whole main network."""
    backbone = _without_memory(bundle.manifest.main).backbone
    backbone = _loaded(backbone, bundle.path("backbone.safetensors"))
    return MeshRegressor(backbone, torch_head(bundle)).eval()


def torch_networks(bundle: Bundle) -> tuple[MeshRegressor, MeshRegressor]:
    """The main network and the auxiliary one, which may have the same backbone."""
    main, path = torch_main_network(bundle), bundle.path("auxiliary.safetensors")
    without_memory = _without_memory(bundle.manifest.auxiliary)
    if bundle.manifest.shared_backbone:
        backbone, head = main.backbone, _loaded(without_memory.head, path)
    else:
        # A module of both, whose names are those of the file. Image normalisation has tensors that
        # no file has, so the network itself is built anew around them.
        both = nn.ModuleDict({"backbone": without_memory.backbone, "head": without_memory.head})
        _loaded(both, path)
        backbone, head = without_memory.backbone, without_memory.head
    return main, MeshRegressor(backbone, head).eval()


def _without_memory(spec: NetworkSpec) -> MeshRegressor:
    """On the meta device; ValueError for options that the backbone does not have."""
    try:
        with torch.device("meta"):
            return spec.build()
    except TypeError as error:
        raise ValueError(f"a {spec.backbone} cannot be built: {brief(error)}") from error


_Module = TypeVar("_Module", bound=nn.Module)


def _loaded(module: _Module, path: Path) -> _Module:
    """A module without memory, with memory and the weights of a file."""
    _check_size(module, path)
    module.to_empty(device="cpu")
    for part in module.modules():
        if isinstance(part, Backbone):
            part.fill_constants()
    load_weights(module, path)
    return module.eval()


def _check_size(module: nn.Module, path: Path) -> None:
    """ValueError for a file that cannot hold the weights, before there is memory for them."""
    numbers = sum(tensor.numel() for tensor in module.state_dict().values())
    if numbers > (size := path.stat().st_size):
        raise ValueError(
            f"{path}: the weights do not fit the network: the manifest describes {numbers} "
            f"numbers, and the file is {size} bytes long"
        )


@one_thread()  # in a forked process there may be no others
def frozen_torch_networks(bundle: Bundle, *, device: str) -> tuple[TorchNetwork, TorchNetwork]:
    """The main network's backbone, and the auxiliary network."""
    main, own = torch_networks(bundle)
    backbone = FrozenBackbone(main)
    shared = bundle.manifest.shared_backbone
    auxiliary = FrozenHead(own.head) if shared else FrozenAuxiliary(own)
    return (
        TorchNetwork(backbone, backbone.reads, BACKBONE_OUTPUTS, device=device),
        TorchNetwork(auxiliary, auxiliary.reads, AUXILIARY_OUTPUTS, device=device),
    )
