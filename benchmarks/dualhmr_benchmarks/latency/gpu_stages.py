"""What is measured on a GPU, stage by stage: correctness, time by persons, engines, memory.

`benchmarks/scripts/gpu_day.py` runs them. Every stage gives plain data.
"""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dualhmr import Recoverer, Recovery, open_bundle
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.arrays import to_numpy
from dualhmr.bundle import ADAPTATION_GRAPH, Bundle
from dualhmr.engines import EngineOptions, open_networks
from dualhmr.example import example
from dualhmr.keypoints import Keypoints
from dualhmr_benchmarks.latency.measure import interleaved, median_milliseconds
from dualhmr_benchmarks.latency.memory import bandwidth
from dualhmr_benchmarks.latency.methods import PAPER, methods
from dualhmr_benchmarks.latency.networks import DEFAULT, example_problem, networks
from dualhmr_export.parity import real_crops

Result = dict[str, Any]

STEPS = 14
NOT_HERE = "not_here"
MOST_MM = 0.1
"""Of a vertex, from the same adaptation on the CPU."""
MOST_FEATURES = 1e-3
"""Of a frozen network's outputs in float32, relatively."""
_PACKAGES = ("torch", "cupy", "onnxruntime", "tensorrt", "nvidia", "numba", "numpy", "triton")
# Ways to adapt and to run the frozen networks, as arguments of `Recoverer` and `open_networks`.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "without graphs": {"options": EngineOptions(cuda_graph=False)},
    "graphs": {"options": EngineOptions(cuda_graph=True)},
    "onnx": {"adaptation": "onnx"},
}
ENGINES: Mapping[str, tuple[str, EngineOptions]] = {
    "torch": ("torch", EngineOptions()),
    "onnxruntime": ("onnxruntime", EngineOptions()),
    "onnxruntime-tensorrt": ("onnxruntime", EngineOptions(provider="tensorrt")),
    "onnxruntime-rtx": ("onnxruntime", EngineOptions(provider="nv_tensorrt_rtx")),
    "tensorrt": ("tensorrt", EngineOptions()),
    "tensorrt with graphs": ("tensorrt", EngineOptions(cuda_graph=True)),
}


@dataclass(frozen=True)
class Day:
    """What is measured, and how much of it."""

    out: Path
    device: str = "cuda"
    quick: bool = False

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks."""
        return (DEFAULT,) if self.quick else (DEFAULT, "resnet50")

    @property
    def persons(self) -> tuple[int, ...]:
        """Numbers of persons in an image."""
        return (1, 2) if self.quick else (1, 4, 16, 64)

    @property
    def steps(self) -> int:
        """Steps of an adaptation."""
        return 3 if self.quick else STEPS

    @property
    def repeats(self) -> int:
        """Of each timing."""
        return 1 if self.quick else 7

    def bundle(self, name: str) -> Bundle:
        """The networks of that name; those with random weights are exported once."""
        if name == DEFAULT:
            return open_bundle()
        folder = self.out / "networks" / name
        return (
            open_bundle(folder)
            if folder.exists()
            else networks(name, folder.parent, adaptation=False)
        )

    def schedule(self, bundle: Bundle, steps: int) -> Schedule:
        """Steps of Adam on all losses, without an early stop."""
        return Schedule("timed", (Phase(Adam(bundle.manifest.schedule.adam_rate), steps),), 0.0)

    @cached_property
    def photograph(self) -> tuple[Any, Keypoints]:
        """The example."""
        return example()

    def recover(self, recoverer: Recoverer, persons: int, steps: int) -> Recovery:
        """The person of the photograph, `persons` times, a few pixels apart."""
        image, keypoints = self.photograph
        many = keypoints.select([0] * persons)
        moved = many.xy + np.arange(persons, dtype=np.float32)[:, None, None] % 7
        own = recoverer.adaptation in ("onnx", "tensorrt")  # the schedule is that of the graphs
        return recoverer.recover(
            image,
            replace(many, xy=moved),
            schedule=None if own else self.schedule(recoverer.bundle, steps),
            max_steps=steps if own else None,
        )

    def wait(self) -> None:
        """For the GPU."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)


def _machine(day: Day) -> Result:
    found: Result = {"python": platform.python_version(), "device": platform.machine()}
    if day.device != "cpu":
        properties = torch.cuda.get_device_properties(day.device)
        found |= {"device": properties.name, "capability": f"{properties.major}.{properties.minor}"}
        found |= {"memory_gb": properties.total_memory / 1e9, "cuda": torch.version.cuda}
    installed = {
        each.name: each.version
        for each in metadata.distributions()
        if each.name.startswith(_PACKAGES)
    }
    providers = import_module("onnxruntime").get_available_providers()
    copied = None if day.quick else bandwidth(day.device) / 1e9
    return found | {"packages": installed, "providers": providers, "copy_gb_per_s": copied}


def _parity(day: Day, name: str, way: str) -> Result:
    """Bodies and losses of a way to adapt, from those of the CPU."""
    bundle, persons, arguments = day.bundle(name), day.persons[1], WAYS[way]
    if way == "onnx" and ADAPTATION_GRAPH not in bundle.manifest.files:
        return {NOT_HERE: f"the networks come without {ADAPTATION_GRAPH}"}
    on_cpu = arguments.get("adaptation", "torch")
    reference = Recoverer(bundle, backend="onnxruntime", adaptation=on_cpu)
    recoverer = Recoverer(bundle, device=day.device, **arguments)
    return _difference(*(day.recover(each, persons, day.steps) for each in (recoverer, reference)))


def _difference(found: Recovery, expected: Recovery) -> Result:
    off = 1000 * float(np.linalg.norm(found.vertices - expected.vertices, axis=-1).max())
    losses, others = (np.array(each.loss_history) for each in (found, expected))
    holds = off <= MOST_MM and losses.shape == others.shape
    relative = float(np.abs(losses / others - 1).max()) if holds else None
    facts = {"engine": found.engine, "adaptation": found.adaptation}
    return {"mm": off, "holds": holds, "losses_relative": relative, **facts}


def _in_tensorrt(day: Day) -> Result:
    """The adaptation in TensorRT: seconds to open, distance from the CPU, milliseconds a step."""
    if day.device == "cpu":
        return {NOT_HERE: "TensorRT needs a GPU"}
    folder = day.out / "networks"
    known = (folder / DEFAULT).exists()
    bundle = open_bundle(folder / DEFAULT) if known else networks(DEFAULT, folder, step_graphs=True)
    reference = Recoverer(bundle, backend="onnxruntime", adaptation="onnx")
    expected, results = day.recover(reference, 1, day.steps), {}
    for captured in (False, True):
        options = EngineOptions(cuda_graph=captured, cache_folder=day.out / "engines")
        start = time.perf_counter()
        recoverer = Recoverer(bundle, device=day.device, adaptation="tensorrt", options=options)
        opened = time.perf_counter() - start
        found = day.recover(recoverer, 1, day.steps)
        few, many = (_medians(day, recoverer, 1, steps)["adaptation"] for steps in (1, day.steps))
        results["captured" if captured else "queued"] = {
            "opened_s": opened,
            "step_ms": (many - few) / (day.steps - 1),
            "all_steps_ms": many,
            **_difference(found, expected),
        }
    return results


def _steps(day: Day, name: str, way: str) -> Result:
    """Milliseconds by the number of persons: of a further step, and of a whole `recover`."""
    bundle, results = day.bundle(name), {}
    recoverer = Recoverer(bundle, device=day.device, **WAYS[way])
    for persons in day.persons:
        few, many = (_medians(day, recoverer, persons, steps) for steps in (1, day.steps))
        step = (many["adaptation"] - few["adaptation"]) / (day.steps - 1)
        results[str(persons)] = {
            "step_ms": step,
            "step_ms_a_person": step / persons,
            "stages_ms": many,
        }
        if day.device != "cpu":
            free, total = torch.cuda.mem_get_info(day.device)
            peak = torch.cuda.max_memory_allocated(day.device)
            results[str(persons)] |= {"peak_gb": peak / 1e9, "in_use_gb": (total - free) / 1e9}
    return {"adaptation": recoverer.adaptation, "engine": recoverer.engine, "persons": results}


def _medians(day: Day, recoverer: Recoverer, persons: int, steps: int) -> dict[str, float]:
    day.recover(recoverer, persons, steps)  # warms up: captures, compiles
    timings = [day.recover(recoverer, persons, steps).timings_ms for _ in range(day.repeats)]
    medians = {name: statistics.median(each[name] for each in timings) for name in timings[0]}
    return medians | {"all": statistics.median(sum(each.values()) for each in timings)}


def _throughput(day: Day, threads: int) -> Result:
    """Images a second of one recoverer, by persons in an image, at its default settings."""
    recoverer, (image, keypoints) = Recoverer(device=day.device), day.photograph
    results = {}
    for persons in day.persons[: 1 if threads > 1 else 3]:
        given = keypoints.select([0] * persons)
        count = 2 if day.quick else max(8, 400 // persons)
        recoverer.recover(image, given)
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda given: recoverer.recover(image, given), [given] * count))
        results[str(persons)] = count * persons / (time.perf_counter() - start)
    return {"threads": threads, "persons_per_second": results}


def _engine(day: Day, name: str, engine: str) -> Result:
    """Seconds to open, milliseconds by batch, and the distance from ONNX Runtime on the CPU."""
    bundle, (backend, options) = day.bundle(name), ENGINES[engine]
    options = replace(options, cache_folder=day.out / "engines")
    start = time.perf_counter()
    try:
        opened = open_networks(bundle, backend, device=day.device, options=options)
    except (RuntimeError, ValueError) as error:  # the provider, the GPU or a library is missing
        return {NOT_HERE: str(error)}
    result: Result = {"opened_s": time.perf_counter() - start, "runs_on": opened.runs_on}
    exact, crops = open_networks(bundle, "onnxruntime"), real_crops(bundle.manifest)
    features, expected = (to_numpy(each.backbone(crops)["features"]) for each in (opened, exact))
    off = float(np.abs(features - expected).max() / np.abs(expected).max())
    result |= {"features_relative": off, "holds": off <= MOST_FEATURES, "ms": {}}
    for persons in (1, len(features)):
        batch = {name: array[:persons] for name, array in crops.items()}
        result["ms"][str(persons)] = _network_ms(day, partial(opened.backbone, batch))
    return result


def _network_ms(day: Day, run: Callable[[], object]) -> float:
    def finished() -> None:
        run()
        day.wait()

    return median_milliseconds(interleaved({0: finished}, day.repeats)[0])


def _paper(day: Day, name: str) -> Result:
    """Milliseconds of a further step by each method of `dualhmr bench`."""
    problem = example_problem(day.bundle(name), device=day.device)
    timed = methods(problem)
    few, many = 1, 3 if day.quick else 10
    runs = {
        (method, steps): partial(take, steps)
        for method, take in timed.items()
        if not (day.quick and method == PAPER)
        for steps in (few, many)
    }
    seconds = {
        key: median_milliseconds(each) for key, each in interleaved(runs, day.repeats).items()
    }
    return {
        method: (seconds[method, many] - seconds[method, few]) / (many - few)
        for method, steps in runs
        if steps == many
    }


class Stage(NamedTuple):
    """Something to measure."""

    run: Callable[[], Result]
    seconds: float
    """That it may take, also where nothing before it has left any over."""


def stages(day: Day) -> dict[str, Stage]:
    """By name, in order: what would make the rest worthless comes first.

    Their seconds add up to at most eight minutes. The first with random weights exports them.
    """
    name, quick = day.networks[-1], day.quick
    found = {"machine": Stage(partial(_machine, day), 15)}
    ways = ("default", "onnx") if quick else tuple(WAYS)
    checked = [(DEFAULT, way, 22) for way in ways] + ([] if quick else [(name, "default", 60)])
    for each, way, seconds in checked:
        found[f"parity {each} {way}"] = Stage(partial(_parity, day, each, way), seconds)
    for each in day.networks:
        found[f"steps {each}"] = Stage(partial(_steps, day, each, "default"), 40)
    for count in (1,) if quick else (1, 4):
        found[f"throughput {count}"] = Stage(partial(_throughput, day, count), 15)
    for each in day.networks:
        found[f"paper {each}"] = Stage(partial(_paper, day, each), 25)
    engines = ("onnxruntime", "onnxruntime-tensorrt", "tensorrt") if quick else tuple(ENGINES)
    for each in engines:
        builds = each.endswith(("tensorrt", "rtx"))
        found[f"engine {each}"] = Stage(partial(_engine, day, name, each), 22 if builds else 10)
    found["adaptation in tensorrt"] = Stage(partial(_in_tensorrt, day), 35)
    if not quick:
        again = partial(_steps, day, DEFAULT, "without graphs")
        found["steps without graphs"] = Stage(again, 25)
    return found
