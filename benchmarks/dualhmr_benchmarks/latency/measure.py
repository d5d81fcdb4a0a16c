"""Measures how long test-time steps take, by every method, on every pair of networks."""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dualhmr import Recoverer
from dualhmr.bundle import Bundle
from dualhmr.example import example
from dualhmr_benchmarks.latency.memory import bandwidth, least_bytes
from dualhmr_benchmarks.latency.methods import PAPER, check, methods
from dualhmr_benchmarks.latency.networks import example_problem, networks
from dualhmr_benchmarks.latency.peak_memory import peak_megabytes
from dualhmr_benchmarks.latency.report import EndToEnd, LatencyReport, Measured

Key = TypeVar("Key")
_PAUSE = 0.02
"""Seconds for threads of the run before to go to sleep; some spin."""
Seconds = dict[Key, list[float]]


def interleaved(runs: Mapping[Key, Callable[[], object]], rounds: int) -> "Seconds[Key]":
    """Every run once a round, after one round to warm up; seconds by the runs' keys."""
    seconds: Seconds[Key] = {key: [] for key in runs}
    for number in range(1 + rounds):
        for key, run in runs.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            run()
            if number:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def milliseconds(seconds: list[float]) -> float:
    """The median."""
    return 1000 * statistics.median(seconds)


STEPS = (1, 2, 4, 7, 10, 14)
PAPER_STEPS = (1, 3)
"""A second each on a CPU; and what a further step costs does not depend on how many there were."""
_COLD = """
import json, time
stages, last = {}, time.perf_counter()
def lap(stage):
    global last
    now = time.perf_counter()
    stages[stage], last = 1000 * (now - last), now
import dualhmr
from dualhmr.example import example
lap("import")
recoverer = dualhmr.Recoverer()
lap("open")
image, keypoints = example()
lap("example photograph")
recoverer.recover(image, keypoints)
lap("first recovery")
recoverer.recover(image, keypoints)
lap("second recovery")
print(json.dumps(stages))
"""


def measure(
    names: Sequence[str],
    folder: Path,
    *,
    rounds: int,
    device: str = "cpu",
    steps: Sequence[int] = STEPS,
    paper_steps: Sequence[int] = PAPER_STEPS,
    say: Callable[[str], None] = lambda _message: None,
) -> LatencyReport:
    """Exports the networks `names` into `folder` and measures. See `LatencyReport`."""
    measured: list[Measured] = []
    end_to_end: list[EndToEnd] = []
    for name in names:
        say(f"{name}: making the networks")
        bundle = networks(name, folder)
        say(f"{name}: taking steps")
        counts = {PAPER: paper_steps}
        measured += _measure_ways(name, bundle, rounds, device, steps, counts)
        say(f"{name}: recovering")
        end_to_end.append(_recover(name, bundle, rounds, device))
    say("starting cold")
    return LatencyReport(
        machine=_machine(device),
        versions=f"Python {platform.python_version()}, torch {torch.__version__}",
        threads=torch.get_num_threads(),
        rounds=rounds,
        bytes_per_second=bandwidth(device),
        measured=tuple(measured),
        end_to_end=tuple(end_to_end),
        cold_start=_start_cold(),
    )


def _measure_ways(
    name: str,
    bundle: Bundle,
    rounds: int,
    device: str,
    steps: Sequence[int],
    counts: dict[str, Sequence[int]],
) -> Iterator[Measured]:
    problem = example_problem(bundle, device=device)
    known = methods(problem)
    check({way: take for way, take in known.items() if way != PAPER}, max(steps))
    runs = {
        (way, count): partial(take, count)
        for way, take in known.items()
        for count in counts.get(way, steps)
    }
    seconds = interleaved(runs, rounds)
    for way in known:
        yield Measured(
            networks=name,
            way=way,
            ms_by_steps={
                count: milliseconds(taken) for (of, count), taken in seconds.items() if of == way
            },
            least_bytes=least_bytes(way, problem),
            peak_mb=peak_megabytes(bundle.folder, way) if device == "cpu" else None,
        )


def _recover(name: str, bundle: Bundle, rounds: int, device: str) -> EndToEnd:
    recoverer = Recoverer(bundle, device=device)
    image, keypoints = example()
    recoverer.recover(image, keypoints)
    recoveries = [recoverer.recover(image, keypoints) for _ in range(rounds)]
    stages = recoveries[0].timings_ms
    return EndToEnd(
        networks=name,
        engine=recoverer.engine,
        steps=int(recoveries[0].steps[0]),
        warm={
            stage: float(np.median([recovery.timings_ms[stage] for recovery in recoveries]))
            for stage in stages
        },
    )


def _start_cold() -> dict[str, float]:
    result = subprocess.run(
        [sys.executable, "-c", _COLD], capture_output=True, text=True, check=True
    )
    stages: dict[str, float] = json.loads(result.stdout)
    return stages


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"
