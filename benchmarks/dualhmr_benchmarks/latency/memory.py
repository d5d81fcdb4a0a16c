"""Memory of a test-time step: the least bytes it moves, the machine's bandwidth, the peak.

`python -m dualhmr_benchmarks.latency.memory BUNDLE METHOD` prints the resident megabytes that a
method of `methods` adds. Linux only, and in a process of its own: memory that earlier work has
freed would hide the peak.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from dualhmr import open_bundle
from dualhmr.networks import RegressorHead
from dualhmr_benchmarks.latency.methods import (
    AUTOGRAD,
    COMPILED,
    COMPILED_KEYPOINTS_ONLY,
    PAPER,
    methods,
)
from dualhmr_benchmarks.latency.networks import ExampleProblem, example_problem

_BYTES = 4
# How often each weight crosses the memory bus in a step. Adam reads and writes the weight and its
# two moments. A gradient is written by the backward pass and read by Adam, unless it is never
# built. The forward and the backward pass read the weight once each: it then stays in the cache.
_ADAM_PASSES, _GRADIENT_PASSES, _NETWORK_PASSES = 6, 2, 2
_COPIED, _COPIES = 1 << 28, 7
_PEAK_STEPS = 2
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def least_bytes(method: str, problem: ExampleProblem) -> int:
    """The bytes that one step must read and write; later iterations of the head hit the cache.

    Activations are not counted; of the body only the blend shapes, where the loss uses vertices.
    """
    manifest, body = problem.bundle.manifest, problem.tensors.objective.body
    network = manifest.main.build()
    if method in (PAPER, AUTOGRAD):
        adapted = _parameter_count(network if method == PAPER else network.head)
        moved = adapted * (_ADAM_PASSES + _GRADIENT_PASSES + _NETWORK_PASSES)
    else:
        moved = _dense_parameter_count(network.head) * (_ADAM_PASSES + _NETWORK_PASSES)
    if manifest.weights.vertices:
        passes = 1 if method in (COMPILED, COMPILED_KEYPOINTS_ONLY) else 2
        moved += passes * (body.posedirs.numel() + body.shapedirs.numel())
    return _BYTES * moved


def _parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _dense_parameter_count(head: RegressorHead) -> int:
    """The parameters that a structured step touches.

    The columns of `fc1` that read the features drop out: their input is the same at every step, so
    the step tracks their product with it and never the columns.
    """
    estimate = head.init_pose.numel() + head.init_shape.numel() + head.init_cam.numel()
    return _parameter_count(head) - head.fc1.weight.numel() + head.fc1.out_features * estimate


def bandwidth(device: str) -> float:
    """Bytes per second, read and written, of a copy too large for any cache; the median."""
    source = torch.ones(_COPIED // _BYTES, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(_COPIES):
        _synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        _synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * _COPIED / statistics.median(seconds)


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def peak_megabytes(bundle: Path, method: str) -> float | None:
    """What adaptation adds to the memory of networks and body; None on systems but Linux."""
    if not _CLEAR_REFS.exists():
        return None
    command = [sys.executable, "-m", "dualhmr_benchmarks.latency.memory", str(bundle), method]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout)


def _main(bundle: str, method: str) -> None:
    problem = example_problem(open_bundle(bundle), device="cpu")
    take_steps = methods(problem)[method]
    before = _resident_megabytes("VmRSS")
    _CLEAR_REFS.write_text("5", encoding="ascii")  # resets VmHWM, the kernel's high-water mark
    take_steps(_PEAK_STEPS)
    print(_resident_megabytes("VmHWM") - before)


def _resident_megabytes(kind: str) -> float:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
