"""Time of a test-time step of the head on a GPU: eager PyTorch, captured, and with kernels.

`python benchmarks/scripts/gpu_step.py` first checks every method against float64 on the CPU, and
raises if one is wrong; then it times them in float32 at several numbers of persons and prints JSON.
`--device cpu` with small sizes only shows that it runs. It has not run on a GPU yet.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from dualhmr.adaptation.fast_head import AffineHead, CapturedHeads, TorchArithmetic, adapt_heads
from dualhmr.adaptation.fast_head.choose_arithmetic import cuda_kernels
from dualhmr.adaptation.fast_head.cuda_graph import without_tf32
from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels
from dualhmr.adaptation.fast_head.head_step import Evaluate
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.body.model import load_body
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import View
from dualhmr.keypoints import COCO_17
from dualhmr.networks import RegressorHead
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.cuda_objective import CudaObjective
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rot6d_to_rotmat

WEIGHTS = LossWeights(5.0, 5.0, 1.0, 1.0, 0.001, 0.0)
ONLY_2D = ("keypoints_2d",)
# Of losses, relatively; eager PyTorch in float32 on a CPU is already off by 2e-5.
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}
CHECKED_STEPS = 5
WARM_UPS = 3

Run = Callable[[], Sequence[object]]


class Sizes(NamedTuple):
    """Of the head."""

    features: int = 2048
    hidden: int = 1024
    iterations: int = 10


class TimedProblem(NamedTuple):
    """A head and the persons that it is adapted to."""

    head: AffineHead
    head_input: Tensor
    objective: Objective
    evidence: Evidence

    @property
    def evaluate(self) -> ObjectiveGradient:
        """A new one every time, as for new persons."""
        return ObjectiveGradient(self.objective, self.evidence)


def random_problem(
    persons: int, sizes: Sizes, device: torch.device, dtype: torch.dtype
) -> TimedProblem:
    """The same for every device and dtype, except for rounding."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    torch.manual_seed(0)
    network = RegressorHead(
        sizes.features, hidden=sizes.hidden, iterations=sizes.iterations, reads_box_info=True
    )
    network = network.to(device=device, dtype=dtype).eval()
    start = torch.cat([network.init_pose, network.init_shape, network.init_cam], dim=1)
    head = AffineHead.from_parameters(
        dict(network.named_parameters()), start=start, iterations=sizes.iterations
    )
    body = load_body().to(device=device, dtype=dtype)
    objective = Objective(
        body,
        keypoints=keypoint_regressor(body, COCO_17),
        keypoint_count=17,
        camera="cliff",
        weights=WEIGHTS,
    )

    def on_device(tensor: Tensor) -> Tensor:
        return tensor.to(device=device, dtype=dtype)

    features, box_info = (
        on_device(normal(persons, sizes.features).relu()),
        on_device(normal(persons, 3)),
    )
    view = View(
        box_center=torch.tensor([[300.0, 200.0]]) + 40 * normal(persons, 2),
        box_height=220.0 + 30 * normal(persons),
        focal_length=900.0 + 50 * normal(persons),
        principal_point=torch.tensor([[320.0, 240.0]]).repeat(persons, 1),
    )
    keypoints, confidence = 0.4 * normal(persons, 17, 2), normal(persons, 17).abs()
    evidence = pytree.tree_map_only(Tensor, on_device, Evidence(keypoints, confidence, view, None))
    pose = network.init_pose + on_device(0.2 * normal(persons, 144))
    target = objective.target(
        rot6d_to_rotmat(pose.unflatten(1, (24, 6))), on_device(normal(persons, 10))
    )
    head_input = network.head_input(features, box_info).detach()
    return TimedProblem(head, head_input, objective, evidence._replace(target=target))


def schedule_of(steps: int, losses: tuple[str, ...] | None = None) -> Schedule:
    """A schedule of Adam that never stops early."""
    return Schedule("timed", (Phase(Adam(1e-5), steps, losses),), 0.0)


def methods(problem: TimedProblem, schedule: Schedule) -> Iterator[tuple[str, Run, float]]:
    """Name, a function that adapts to all persons, and the milliseconds that preparing it took."""
    head, head_input, evaluate = problem.head, problem.head_input, problem.evaluate
    device, persons = head_input.device, len(head_input)
    yield (
        "eager",
        lambda: adapt_heads(head, head_input, evaluate, schedule, arithmetic=TorchArithmetic()),
        0.0,
    )
    found = {"captured": None, "captured kernels": kernels_for(device)}
    for name, kernels in found.items():
        if kernels is None and name != "captured":
            continue
        losses: ObjectiveGradient | CudaObjective = evaluate
        if kernels is not None:
            losses = CudaObjective(problem.objective, problem.evidence, kernels)
        begin = time.perf_counter()
        captured = CapturedHeads(
            head,
            partial(_prepared, head_input, losses, problem.evidence),
            schedule,
            persons,
            kernels=kernels,
        )
        _wait(device)
        milliseconds = 1e3 * (time.perf_counter() - begin)
        yield name, captured.adapt, milliseconds


def _prepared(
    head_input: Tensor, losses: ObjectiveGradient | CudaObjective, evidence: Evidence
) -> tuple[Tensor, Evaluate]:
    return head_input, losses.with_evidence(evidence)


def kernels_for(device: torch.device) -> CudaKernels | None:
    """What compiles the kernels, where they run."""
    return cuda_kernels() if device.type == "cuda" else None


def check(sizes: Sizes, device: torch.device) -> dict[str, float]:
    """The largest relative error of any loss, by method; RuntimeError if one is too large."""
    errors: dict[str, float] = {}
    schedule = schedule_of(CHECKED_STEPS)
    exact = random_problem(2, sizes, torch.device("cpu"), torch.float64)
    expected = _losses(
        adapt_heads(
            exact.head, exact.head_input, exact.evaluate, schedule, arithmetic=TorchArithmetic()
        )
    )
    for dtype, tolerance in TOLERANCES.items():
        for name, run, _ in methods(random_problem(2, sizes, device, dtype), schedule):
            label = f"{name} {str(dtype).removeprefix('torch.')}"
            errors[label] = float(((_losses(run()) - expected) / expected).abs().max())
            # Not `>`: NaN is an error too.
            if not errors[label] <= tolerance:
                raise RuntimeError(f"{label} is {errors[label]:.1e} off, allowed are {tolerance}")
    return errors


def _losses(adaptations: Sequence[object]) -> Tensor:
    histories = []
    for one in adaptations:
        if not isinstance(one, AdaptationResult):
            raise RuntimeError(f"no result: {one}")
        histories.append(one.loss_history)
    return torch.tensor(histories, dtype=torch.float64)


def timed(
    persons: int, sizes: Sizes, device: torch.device, *, steps: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """Medians of the time of a step, and of everything else for each group of persons.

    The time of a step is what more steps add; the rest is the first and the last evaluation.
    """
    problem = random_problem(persons, sizes, device, torch.float32)
    for losses in (None, ONLY_2D):
        once = {name: run for name, run, _ in methods(problem, schedule_of(1, losses))}
        for name, run, preparing in methods(problem, schedule_of(steps, losses)):
            first = _median_ms(once[name], device, repeats)
            whole = _median_ms(run, device, repeats)
            step = (whole - first) / (steps - 1)
            yield {
                "persons": persons,
                "losses": "all" if losses is None else "2d",
                "way": name,
                "step_ms": step,
                "besides_ms": first - step,
                "whole_ms": whole,
                "capture_ms": preparing,
            }


def _median_ms(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    for _ in range(WARM_UPS):
        work()
    return statistics.median(_elapsed_ms(work, device) for _ in range(repeats))


def _elapsed_ms(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        begin = time.perf_counter()
        work()
        return 1e3 * (time.perf_counter() - begin)
    begin_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    _wait(device)
    begin_event.record()
    work()
    end_event.record()
    _wait(device)
    return begin_event.elapsed_time(end_event)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks, times and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16, 64])
    for name, size in Sizes()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args(arguments)
    if args.steps < 2:
        parser.error("--steps must be 2 or more: the time of a step is a difference")
    sizes = Sizes(args.features, args.hidden, args.iterations)
    on_gpu = args.device.type == "cuda"
    with torch.no_grad(), without_tf32():
        report: dict[str, Any] = {
            "device": torch.cuda.get_device_name(args.device) if on_gpu else "cpu",
            "torch": torch.__version__,
            "sizes": sizes._asdict(),
            "steps": args.steps,
            "relative_errors": check(sizes, args.device),
            "steps_timed": [],
        }
        for persons in args.batches:
            report["steps_timed"] += timed(
                persons, sizes, args.device, steps=args.steps, repeats=args.repeats
            )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
