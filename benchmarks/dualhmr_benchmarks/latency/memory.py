"""What a step moves at the least, and how fast this machine moves it."""

import statistics
import time

import torch
from torch import nn

from dualhmr.networks import RegressorHead
from dualhmr_benchmarks.latency.methods import AUTOGRAD, PAPER
from dualhmr_benchmarks.latency.networks import ExampleProblem

_BYTES = 4
_ADAM_PASSES = 6
"""Weight, first and second moment, each read and written."""
_GRADIENT_PASSES = 2
"""Written by the backward pass, read by Adam; where it is never built, none."""
_NETWORK_PASSES = 2
"""Weights are read forwards and backwards, once each if they then stay in the cache."""
_COPIED = 1 << 28
_COPIES = 7


def least_bytes(way: str, problem: ExampleProblem) -> int:
    """What one step of `way` has to read and write, all rounds of the head on cached weights.

    Activations are not counted, and of the body only its blend shapes, where vertices count.
    """
    manifest, body = problem.bundle.manifest, problem.tensors.objective.body
    network = manifest.main.build()
    if way == PAPER:
        moved = parameters(network) * (_ADAM_PASSES + _GRADIENT_PASSES + _NETWORK_PASSES)
    elif way == AUTOGRAD:
        moved = parameters(network.head) * (_ADAM_PASSES + _GRADIENT_PASSES + _NETWORK_PASSES)
    else:
        moved = dense_parameters(network.head) * (_ADAM_PASSES + _NETWORK_PASSES)
    if manifest.weights.vertices:
        moved += 2 * (body.posedirs.numel() + body.shapedirs.numel())
    return _BYTES * moved


def parameters(network: nn.Module) -> int:
    """How many numbers there are to adapt."""
    return sum(each.numel() for each in network.parameters())


def dense_parameters(head: RegressorHead) -> int:
    """Those of them that a structured step touches: not what reads constant inputs."""
    estimate = head.init_pose.numel() + head.init_shape.numel() + head.init_cam.numel()
    return parameters(head) - head.fc1.weight.numel() + head.fc1.out_features * estimate


def bandwidth(device: str) -> float:
    """Bytes per second of a copy too large for any cache, read and write counted; the median."""
    source = torch.ones(_COPIED // _BYTES, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(_COPIES):
        _wait(device)
        start = time.perf_counter()
        target.copy_(source)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * _COPIED / statistics.median(seconds)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
