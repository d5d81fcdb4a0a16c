"""A bundle's networks in PyTorch: the reference that the other engines are tested against."""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dualhmr.adaptation.fast_head.cuda_graph import CudaReplay, Work, without_tf32
from dualhmr.bundle import Bundle, NetworkSpec
from dualhmr.engines.checked_network import feature_count, network_inputs_of
from dualhmr.engines.device_inputs import DeviceInputs, as_tensor
from dualhmr.engines.frozen_network import Arrays, EngineOptions, TensorSpec
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

_MOST_GRAPHS = 8
"""Of both networks and all numbers of persons; further ones run one operation at a time."""
_log = logging.getLogger("dualhmr")


class NetworkGraphs:
    """Networks on one GPU as CUDA graphs: one launch, where a network has hundreds of kernels.

    A graph is captured for each network and number of persons. Networks share the memory for
    intermediate results, and several threads take turns. It has not run on a GPU yet.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._replay: CudaReplay | None = CudaReplay(device)
        self._captured: dict[tuple[nn.Module, int], _Captured] = {}
        self._lock = Lock()
        with torch.cuda.device(device):
            self._done = torch.cuda.Event()

    def run(
        self, module: nn.Module, inputs: Mapping[str, Any], specs: tuple[TensorSpec, ...]
    ) -> tuple[Tensor, ...] | None:
        """New tensors of `module` for the inputs in `specs`; None where there is no graph."""
        persons = len(inputs[specs[0].name])
        with self._lock, torch.cuda.device(self._device):
            captured = self._capture(module, specs, persons)
            if captured is None:
                return None
            # Until an earlier call's work is done, it reads the memory that is filled now.
            self._done.synchronize()
            captured.inputs.fill([inputs])
            captured.replay()
            results = tuple(output.clone() for output in captured.outputs)
            self._done.record()
            return results

    def _capture(
        self, module: nn.Module, specs: tuple[TensorSpec, ...], persons: int
    ) -> "_Captured | None":
        key = (module, persons)
        if key in self._captured:
            return self._captured[key]
        if self._replay is None or not persons or len(self._captured) == _MOST_GRAPHS:
            return None
        try:
            self._captured[key] = _captured(module, specs, persons, self._device, self._replay)
        except torch.cuda.OutOfMemoryError:
            raise
        # Drivers and libraries each have errors of their own.
        except Exception as error:
            self._replay = None
            _log.warning("networks run without CUDA graphs, slower, as a capture failed: %s", error)
            return None
        return self._captured[key]


class _Captured(NamedTuple):
    """A graph, and the memory that it reads and writes."""

    inputs: DeviceInputs
    outputs: tuple[Tensor, ...]
    replay: Work


def _captured(
    module: nn.Module,
    specs: tuple[TensorSpec, ...],
    persons: int,
    device: torch.device,
    replay: CudaReplay,
) -> _Captured:
    inputs = DeviceInputs(persons, specs, device)
    arguments = tuple(inputs.tensors.values())
    outputs = tuple(each.clone() for each in _tuple(module(*arguments)))

    def work() -> None:
        for kept, result in zip(outputs, _tuple(module(*arguments)), strict=True):
            kept.copy_(result)

    return _Captured(inputs, outputs, replay.capture(work))


def _tuple(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


class TorchNetwork:
    """A PyTorch module with named inputs and outputs."""

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        *,
        device: str,
        tf32: bool = False,
        graphs: NetworkGraphs | None = None,
    ) -> None:
        """Moves `module` to `device` and puts it into evaluation mode.

        With `graphs`, that for one person is captured now.
        """
        self._module = module.eval().requires_grad_(False).to(device)
        self._inputs, self._outputs = inputs, outputs
        self._device, self._tf32, self._graphs = device, tf32, graphs
        self.reads = tuple(spec.name for spec in inputs)
        if graphs is not None:
            self({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in inputs})

    @property
    def runs_on(self) -> str:
        """Engine, version and device."""
        return f"torch {torch.__version__} {self._device}"

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any]) -> Arrays:
        """Inputs by name to outputs by name; arrays of the host, or of the device."""
        with usable_threads(), nullcontext() if self._tf32 else without_tf32():
            results = None
            if self._graphs is not None:
                results = self._graphs.run(self._module, inputs, self._inputs)
            if results is None:
                tensors = (as_tensor(inputs[name], self._device) for name in self.reads)
                results = _tuple(self._module(*tensors))
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
def frozen_torch_networks(
    bundle: Bundle, *, device: str, options: EngineOptions
) -> tuple[TorchNetwork, TorchNetwork]:
    """The main network's backbone, and the auxiliary network."""
    main, own = torch_networks(bundle)
    backbone = FrozenBackbone(main)
    shared = bundle.manifest.shared_backbone
    auxiliary = FrozenHead(own.head) if shared else FrozenAuxiliary(own)
    features = TensorSpec("features", np.dtype(np.float32), (feature_count(bundle),))
    specs = {spec.name: spec for spec in (*network_inputs_of(bundle), features)}
    graphed = device.startswith("cuda") and options.captures_graphs
    graphs = NetworkGraphs(torch.device(device)) if graphed else None

    def opened(module: FrozenBackbone | FrozenAuxiliary | FrozenHead, outputs: Any) -> TorchNetwork:
        inputs = tuple(specs[name] for name in module.reads)
        return TorchNetwork(
            module, inputs, outputs, device=device, tf32=options.tf32, graphs=graphs
        )

    return opened(backbone, BACKBONE_OUTPUTS), opened(auxiliary, AUXILIARY_OUTPUTS)
