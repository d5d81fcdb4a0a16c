"""Ways to take test-time steps: all compute Eq. 9 with Adam, on the same person."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation import Adam, Course, Phase, Schedule, adapt
from dualhmr.adapters.onnx_adapter import OnnxAdapter
from dualhmr.adapters.torch_adapter import TorchAdapter, few_threads
from dualhmr.body_files import read_body
from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions
from dualhmr.engines.torch_networks import torch_main_network
from dualhmr.manifest import ADAPTATION_GRAPH
from dualhmr.person import Iterates
from dualhmr_benchmarks.person import Sitter

Way = Callable[[int], object]
"""Takes that many steps from the network as it was trained, and waits for them."""

PAPER = "paper"
AUTOGRAD = "autograd, head"
STRUCTURED = "structured"
KEYPOINTS_ONLY = "structured, 2D only"
ONNX = "onnx"
CUDA = "cuda graph"
WAYS = (PAPER, AUTOGRAD, STRUCTURED, KEYPOINTS_ONLY, ONNX, CUDA)
"""All of them; which can be had depends on the machine and the bundle."""


_AGREE = 1e-3
"""Relative; in float32, after some steps of Adam on a sum of absolute values."""


def schedule_of(steps: int, rate: float, losses: tuple[str, ...] | None = None) -> Schedule:
    """The paper's Algorithm 1, or EFT on `losses`; never stops early."""
    return Schedule("paper", (Phase(Adam(rate), steps, losses),), tolerance=0.0)


class PapersFormulation:
    """As the paper does it: all parameters, backbone included, by autograd and torch's Adam.

    Every step runs the whole main network on the image. Batch norms are in evaluation mode.
    """

    def __init__(self, sitter: Sitter) -> None:
        device = sitter.known.features.device
        self._start = torch_main_network(sitter.bundle).to(device)
        self._network = copy.deepcopy(self._start).requires_grad_(True)
        self._known = sitter.known
        self._rate = sitter.bundle.manifest.schedule.adam_rate

    def __call__(self, steps: int) -> Tensor:
        """The losses (steps,) before every step."""
        self._network.load_state_dict(self._start.state_dict())
        optimiser = torch.optim.Adam(self._network.parameters(), lr=self._rate)
        losses = []
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss = self.loss()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).cpu()

    def loss(self) -> Tensor:
        """Of the network as it is now."""
        objective, evidence = self._known.objective, self._known.evidence
        values = objective.losses(self._network(self._known.inputs), evidence)
        return torch.stack(list(values.values())).sum()


def ways(sitter: Sitter) -> Mapping[str, Way]:
    """Those that can be had here, by name, the paper's first."""
    rate = sitter.bundle.manifest.schedule.adam_rate
    adapter, known = sitter.adapter, sitter.known
    device = str(known.features.device)

    def autograd(steps: int) -> Course:
        schedule = schedule_of(steps, rate)
        return adapt(adapter.parameters, adapter.loss_function(known), schedule)

    def structured(steps: int) -> Course:
        with few_threads(device, "head"):
            return adapter.course(known, schedule_of(steps, rate))

    def keypoints_only(steps: int) -> Course:
        with few_threads(device, "head"):
            return adapter.course(known, schedule_of(steps, rate, ("keypoints_2d",)))

    taking: dict[str, Way] = {
        PAPER: PapersFormulation(sitter),
        AUTOGRAD: autograd,
        STRUCTURED: structured,
        KEYPOINTS_ONLY: keypoints_only,
    }
    if never_stops_early(sitter.bundle):
        taking[ONNX] = _graph(sitter)
    if device.startswith("cuda"):
        taking[CUDA] = _captured(sitter, device, rate)
    return taking


def never_stops_early(bundle: Bundle) -> bool:
    """Whether its graph takes all the steps that it is asked for, by the paper's schedule."""
    schedule = bundle.manifest.schedule
    has_graph = ADAPTATION_GRAPH in bundle.manifest.files
    return has_graph and (schedule.name, schedule.tolerance) == ("paper", 0.0)


def _captured(sitter: Sitter, device: str, rate: float) -> Way:
    """Has not run on a GPU yet."""
    adapter = TorchAdapter(sitter.bundle, read_body(), device=device, scope="head", cuda_graph=True)

    def captured(steps: int) -> Course:
        return adapter.course(sitter.known, schedule_of(steps, rate))

    return captured


def _graph(sitter: Sitter) -> Way:
    options = EngineOptions(threads=torch.get_num_threads())
    adapter = OnnxAdapter(sitter.bundle, device="cpu", options=options)

    def onnx(steps: int) -> Iterates:
        return adapter.adapt(sitter.seen, adapter.schedule.limited_to(steps)).iterates

    return onnx


def check(taking: Mapping[str, Way], steps: int) -> None:
    """Raises RuntimeError where a way does not take all steps, or those on one loss disagree."""
    histories = {}
    for way, take in taking.items():
        taken = take(steps)
        if isinstance(taken, Course | Iterates):
            losses = taken.loss_history if isinstance(taken, Course) else taken.losses
            histories[way] = np.array(losses)
            if len(losses) != steps + 1:
                raise RuntimeError(f"{way} took {len(losses) - 1} of {steps} steps")
    for way in set(histories) - {AUTOGRAD, KEYPOINTS_ONLY}:
        off = np.abs(histories[way] / histories[AUTOGRAD] - 1).max()
        if off > _AGREE:
            raise RuntimeError(f"losses of {way} are off from autograd's by {off:.1e}")
