"""Methods of taking test-time steps: all compute Eq. 9 with Adam, on the same person."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.body.files import read_body
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle
from dualhmr.compiling import numba_installed
from dualhmr.engines import EngineOptions
from dualhmr.engines.torch_networks import torch_main_network
from dualhmr.person import PersonIterates
from dualhmr.person_fitting.compiled_fitter import CompiledFitter
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter, few_threads
from dualhmr_benchmarks.latency.networks import ExampleProblem

Method = Callable[[int], object]
"""Takes so many steps, beginning at the trained weights; returns when the device has finished."""

PAPER = "paper"
AUTOGRAD = "autograd, head"
STRUCTURED = "structured"
KEYPOINTS_ONLY = "structured, 2D only"
COMPILED = "compiled"
COMPILED_KEYPOINTS_ONLY = "compiled, 2D only"
ONNX = "onnx"
CUDA = "cuda graph"
METHODS = (
    PAPER,
    AUTOGRAD,
    STRUCTURED,
    KEYPOINTS_ONLY,
    COMPILED,
    COMPILED_KEYPOINTS_ONLY,
    ONNX,
    CUDA,
)
"""All of them; machine and bundle decide which ones `methods` returns."""

_TOLERANCE = 1e-3
"""Of losses, relatively. Float32, and Adam on a sum of absolute values: where a residual changes
its sign, rounding decides the direction of a step."""


def schedule_of(steps: int, rate: float, losses: tuple[str, ...] | None = None) -> Schedule:
    """The paper's Algorithm 1, or with `losses` a schedule of those alone; never stops early."""
    return Schedule("paper", (Phase(Adam(rate), steps, losses),), tolerance=0.0)


class PapersFormulation:
    """The paper's own method: all parameters, backbone included, by autograd and torch's Adam.

    Every step runs the whole main network on the image, with batch norms in evaluation mode.
    """

    def __init__(self, problem: ExampleProblem) -> None:
        device = problem.tensors.features.device
        self._start = torch_main_network(problem.bundle).to(device)
        self._network = copy.deepcopy(self._start).requires_grad_(True)
        self._tensors = problem.tensors
        self._rate = problem.bundle.manifest.schedule.adam_rate

    def __call__(self, steps: int) -> Tensor:
        """The losses (steps,) before every step."""
        tensors = self._tensors
        self._network.load_state_dict(self._start.state_dict())
        optimiser = torch.optim.Adam(self._network.parameters(), lr=self._rate)
        losses = []
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            values = tensors.objective.losses(self._network(tensors.inputs), tensors.evidence)
            loss = torch.stack(list(values.values())).sum()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).cpu()


def methods(problem: ExampleProblem) -> Mapping[str, Method]:
    """The methods that run here, by name, the paper's first."""
    rate = problem.bundle.manifest.schedule.adam_rate
    fitter, tensors = problem.fitter, problem.tensors
    device = str(tensors.features.device)

    def autograd(steps: int) -> AdaptationResult:
        schedule = schedule_of(steps, rate)
        return adapt(fitter.parameters, fitter.loss_function(tensors), schedule)

    def structured(steps: int) -> AdaptationResult:
        with few_threads(device, "head"):
            return fitter.adapt_tensors(tensors, schedule_of(steps, rate))

    def keypoints_only(steps: int) -> AdaptationResult:
        with few_threads(device, "head"):
            return fitter.adapt_tensors(tensors, schedule_of(steps, rate, ("keypoints_2d",)))

    found: dict[str, Method] = {
        PAPER: PapersFormulation(problem),
        AUTOGRAD: autograd,
        STRUCTURED: structured,
        KEYPOINTS_ONLY: keypoints_only,
    }
    if device == "cpu" and numba_installed():
        compiled = CompiledFitter(problem.bundle, read_body(), threads=torch.get_num_threads())
        found[COMPILED] = lambda steps: compiled.adapt_head(
            problem.evidence, schedule_of(steps, rate)
        )
        found[COMPILED_KEYPOINTS_ONLY] = lambda steps: compiled.adapt_head(
            problem.evidence, schedule_of(steps, rate, ("keypoints_2d",))
        )
    if _graph_takes_all_steps(problem.bundle):
        found[ONNX] = _adaptation_graph(problem)
    if device.startswith("cuda"):
        found[CUDA] = _cuda_graph(problem, device, rate)
    return found


def _graph_takes_all_steps(bundle: Bundle) -> bool:
    """Whether it implements `schedule_of`: the schedule is fixed when a graph is exported."""
    schedule = bundle.manifest.schedule
    has_graph = ADAPTATION_GRAPH in bundle.manifest.files
    return has_graph and (schedule.name, schedule.tolerance) == ("paper", 0.0)


def _adaptation_graph(problem: ExampleProblem) -> Method:
    options = EngineOptions(threads=torch.get_num_threads())
    fitter = OnnxFitter(problem.bundle, device="cpu", options=options)

    def onnx(steps: int) -> PersonIterates:
        return fitter.adapt(problem.evidence, fitter.schedule.limited_to(steps)).iterates

    return onnx


def _cuda_graph(problem: ExampleProblem, device: str, rate: float) -> Method:
    """Has not run on a GPU yet."""
    fitter = TorchFitter(problem.bundle, read_body(), device=device, scope="head")
    return lambda steps: fitter.adapt(problem.evidence, schedule_of(steps, rate)).iterates


def check_agreement(methods: Mapping[str, Method], steps: int) -> None:
    """Raises RuntimeError where one takes fewer steps, or losses are off from autograd's."""
    histories = {}
    for name, take_steps in methods.items():
        result = take_steps(steps)
        if isinstance(result, AdaptationResult | PersonIterates):
            losses = result.loss_history if isinstance(result, AdaptationResult) else result.losses
            histories[name] = np.array(losses)
            if len(losses) != steps + 1:
                raise RuntimeError(f"{name} took {len(losses) - 1} of {steps} steps")
    for name in set(histories) - {AUTOGRAD, KEYPOINTS_ONLY, COMPILED_KEYPOINTS_ONLY}:
        off = np.abs(histories[name] / histories[AUTOGRAD] - 1).max()
        if off > _TOLERANCE:
            raise RuntimeError(f"losses of {name} are off from autograd's by {off:.1e}")
