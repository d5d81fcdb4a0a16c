"""Ways to take test-time steps: all compute Eq. 9 with Adam, on the same person."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult, adapt
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.body.files import read_body
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle
from dualhmr.engines import EngineOptions
from dualhmr.engines.torch_networks import torch_main_network
from dualhmr.person import PersonIterates
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter, few_threads
from dualhmr_benchmarks.latency.networks import ExampleProblem

Method = Callable[[int], object]
"""Takes that many steps from the network as it was trained, and waits for them."""

PAPER = "paper"
AUTOGRAD = "autograd, head"
STRUCTURED = "structured"
KEYPOINTS_ONLY = "structured, 2D only"
ONNX = "onnx"
CUDA = "cuda graph"
METHODS = (PAPER, AUTOGRAD, STRUCTURED, KEYPOINTS_ONLY, ONNX, CUDA)
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

    def __init__(self, problem: ExampleProblem) -> None:
        device = problem.tensors.features.device
        self._start = torch_main_network(problem.bundle).to(device)
        self._network = copy.deepcopy(self._start).requires_grad_(True)
        self._known = problem.tensors
        self._rate = problem.bundle.manifest.schedule.adam_rate

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


def methods(problem: ExampleProblem) -> Mapping[str, Method]:
    """Those that can be had here, by name, the paper's first."""
    rate = problem.bundle.manifest.schedule.adam_rate
    adapter, known = problem.adapter, problem.tensors
    device = str(known.features.device)

    def autograd(steps: int) -> AdaptationResult:
        schedule = schedule_of(steps, rate)
        return adapt(adapter.parameters, adapter.loss_function(known), schedule)

    def structured(steps: int) -> AdaptationResult:
        with few_threads(device, "head"):
            return adapter.course(known, schedule_of(steps, rate))

    def keypoints_only(steps: int) -> AdaptationResult:
        with few_threads(device, "head"):
            return adapter.course(known, schedule_of(steps, rate, ("keypoints_2d",)))

    taking: dict[str, Method] = {
        PAPER: PapersFormulation(problem),
        AUTOGRAD: autograd,
        STRUCTURED: structured,
        KEYPOINTS_ONLY: keypoints_only,
    }
    if never_stops_early(problem.bundle):
        taking[ONNX] = _graph(problem)
    if device.startswith("cuda"):
        taking[CUDA] = _captured(problem, device, rate)
    return taking


def never_stops_early(bundle: Bundle) -> bool:
    """Whether its graph takes all the steps that it is asked for, by the paper's schedule."""
    schedule = bundle.manifest.schedule
    has_graph = ADAPTATION_GRAPH in bundle.manifest.files
    return has_graph and (schedule.name, schedule.tolerance) == ("paper", 0.0)


def _captured(problem: ExampleProblem, device: str, rate: float) -> Method:
    """Has not run on a GPU yet."""
    adapter = TorchFitter(problem.bundle, read_body(), device=device, scope="head", cuda_graph=True)

    def captured(steps: int) -> AdaptationResult:
        return adapter.course(problem.tensors, schedule_of(steps, rate))

    return captured


def _graph(problem: ExampleProblem) -> Method:
    options = EngineOptions(threads=torch.get_num_threads())
    adapter = OnnxFitter(problem.bundle, device="cpu", options=options)

    def onnx(steps: int) -> PersonIterates:
        return adapter.adapt(problem.evidence, adapter.schedule.limited_to(steps)).iterates

    return onnx


def check(taking: Mapping[str, Method], steps: int) -> None:
    """Raises RuntimeError where a way does not take all steps, or those on one loss disagree."""
    histories = {}
    for way, take in taking.items():
        taken = take(steps)
        if isinstance(taken, AdaptationResult | PersonIterates):
            losses = taken.loss_history if isinstance(taken, AdaptationResult) else taken.losses
            histories[way] = np.array(losses)
            if len(losses) != steps + 1:
                raise RuntimeError(f"{way} took {len(losses) - 1} of {steps} steps")
    for way in set(histories) - {AUTOGRAD, KEYPOINTS_ONLY}:
        off = np.abs(histories[way] / histories[AUTOGRAD] - 1).max()
        if off > _AGREE:
            raise RuntimeError(f"losses of {way} are off from autograd's by {off:.1e}")
