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
from dualhmr_benchmarks.latency.memory import bandwidth, least_bytes, peak_megabytes
from dualhmr_benchmarks.latency.methods import (
    COMPILED_KEYPOINTS_ONLY,
    KEYPOINTS_ONLY,
    PAPER,
    check_agreement,
    methods,
)
from dualhmr_benchmarks.latency.networks import example_problem, networks
from dualhmr_benchmarks.latency.report import EndToEnd, LatencyReport, MethodLatency

Key = TypeVar("Key")

_PAUSE = 0.02
"""Seconds for the threads of the previous run to go to sleep; some libraries' threads spin."""
_STEPS = (1, 2, 4, 7, 10, 14)
_PAPER_STEPS = (1, 3)
"""A second each on a CPU; the time of a further step does not depend on how many came before."""
_COLD_START = """
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


def interleaved(runs: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, list[float]]:
    """Seconds of every run, once a round, after one round to warm up.

    Runs take turns, so that a slow spell of a shared machine hits all of them alike.
    """
    seconds: dict[Key, list[float]] = {key: [] for key in runs}
    for number in range(1 + rounds):
        for key, run in runs.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            run()
            if number:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def median_milliseconds(seconds: list[float]) -> float:
    """Of some runs."""
    return 1000 * statistics.median(seconds)


def measure(
    names: Sequence[str],
    folder: Path,
    *,
    rounds: int,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _message: None,
) -> LatencyReport:
    """Exports the networks `names` into `folder` and measures. See `LatencyReport`."""
    measured: list[MethodLatency] = []
    end_to_end: list[EndToEnd] = []
    for name in names:
        say(f"{name}: making the networks")
        bundle = networks(name, folder)
        say(f"{name}: taking steps")
        measured += _time_methods(name, bundle, rounds, device)
        say(f"{name}: recovering")
        end_to_end.append(_time_recover(name, bundle, rounds, device))
    say("starting cold")
    on_gpu = device.startswith("cuda")
    return LatencyReport(
        machine=torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()} CPU",
        versions=f"Python {platform.python_version()}, torch {torch.__version__}",
        threads=torch.get_num_threads(),
        rounds=rounds,
        bytes_per_second=bandwidth(device),
        measured=tuple(measured),
        end_to_end=tuple(end_to_end),
        cold_start=_time_cold_start(),
    )


def _time_methods(name: str, bundle: Bundle, rounds: int, device: str) -> Iterator[MethodLatency]:
    problem = example_problem(bundle, device=device)
    timed = methods(problem)
    # The paper's formulation takes a second a step on a CPU; a test holds it to `scope="all"`.
    check_agreement({name: take for name, take in timed.items() if name != PAPER}, max(_STEPS))
    runs = {
        (method, count): partial(take_steps, count)
        for method, take_steps in timed.items()
        for count in (_PAPER_STEPS if method == PAPER else _STEPS)
    }
    seconds = interleaved(runs, rounds)
    for method in timed:
        yield MethodLatency(
            networks=name,
            method=method,
            ms_by_steps={
                count: median_milliseconds(taken)
                for (of_method, count), taken in seconds.items()
                if of_method == method
            },
            least_bytes=least_bytes(method, problem),
            # With fewer losses it is no more, and each is measured in a process of its own.
            peak_mb=None
            if device != "cpu" or method in (KEYPOINTS_ONLY, COMPILED_KEYPOINTS_ONLY)
            else peak_megabytes(bundle.folder, method),
        )


def _time_recover(name: str, bundle: Bundle, rounds: int, device: str) -> EndToEnd:
    recoverer = Recoverer(bundle, device=device)
    image, _ = example()
    recoverer.recover(image)
    recoveries = [recoverer.recover(image) for _ in range(rounds)]
    return EndToEnd(
        networks=name,
        engine=recoverer.engine,
        steps=int(recoveries[0].steps[0]),
        warm={
            stage: float(np.median([recovery.timings_ms[stage] for recovery in recoveries]))
            for stage in recoveries[0].timings_ms
        },
    )


def _time_cold_start() -> dict[str, float]:
    command = [sys.executable, "-c", _COLD_START]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    stages: dict[str, float] = json.loads(result.stdout)
    return stages
