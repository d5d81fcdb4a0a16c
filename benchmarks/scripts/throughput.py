"""Persons a second: one photograph at a time against batches, on one core and on more.

    python benchmarks/scripts/throughput.py --networks default resnet50 --cores 1 2
    python benchmarks/scripts/throughput.py --against OLD/sdk --people 16 --find
    python benchmarks/scripts/throughput.py --memory 100 3000

Each photograph is the example with one person, whose keypoints are a little different. Every way
runs in a process of its own, and the processes take turns; medians are printed. `--against` adds
the loop over `recover` of another version, a checkout of which is in OLD. With `--find`, a detector
finds the people, with `--crowd` they are all in one photograph. `--memory` prints the resident
memory of this process after so many items of a stream, photographs of four million pixels.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import dualhmr
from dualhmr.example import example
from dualhmr.files import markdown_table

NETWORKS = ("default", "resnet50", "hrnet_w48")
LOOP, BATCH, OLD = "one at a time", "batch", "other version, one at a time"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints a table."""
    options = _parser().parse_args(arguments)
    if options.turns is not None:
        _take_turns(options)
        return
    if options.memory:
        _measure_memory(options.memory)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for networks in options.networks
            for cores in options.cores
            for row in _measure(networks, cores, options, Path(folder))
        ]
    ways = [LOOP, BATCH, *([OLD] if options.against else [])]
    ratios = [f"{BATCH} / {way}" for way in ways if way != BATCH]
    print(markdown_table([["networks", "cores", "persons", *ways, *ratios], *rows]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["default"])
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--people", nargs="+", type=int, default=[1, 2, 8, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--find", action="store_true", help="without keypoints")
    parser.add_argument("--crowd", action="store_true", help="everybody in one photograph")
    parser.add_argument("--against", type=Path, metavar="SDK", help="another version's folder sdk")
    parser.add_argument("--memory", nargs="+", type=int, metavar="ITEMS", help="on Linux")
    parser.add_argument("--turns", nargs=2, help=argparse.SUPPRESS)  # of a child: way, bundle
    return parser


def _measure(
    networks: str, cores: int, options: argparse.Namespace, folder: Path
) -> list[list[str]]:
    bundle = _bundle(networks, folder)
    ways: dict[str, str | None] = {LOOP: None, BATCH: None}
    if options.against:
        ways[OLD] = str(options.against)
    children = {way: _child(way, sdk, cores, bundle, options) for way, sdk in ways.items()}
    try:
        rows = []
        for people in options.people:
            seconds: dict[str, list[float]] = {way: [] for way in children}
            for _ in range(options.rounds + 1):  # the first warms up
                for way, child in children.items():
                    seconds[way].append(_turn(child, people))
            rates = {way: people / median(taken[1:]) for way, taken in seconds.items()}
            row = [networks, str(cores), str(people), *(f"{rate:.1f}" for rate in rates.values())]
            for way, taken in seconds.items():
                if way != BATCH:
                    pairs = zip(taken[1:], seconds[BATCH][1:], strict=True)
                    row.append(f"{median(one / other for one, other in pairs):.2f}")
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
        return rows
    finally:
        for child in children.values():
            child.communicate()


def _bundle(networks: str, folder: Path) -> str:
    if networks == "default":
        return ""
    if not (folder / networks).exists():
        from dualhmr_benchmarks.latency.networks import networks as build

        build(networks, folder, adaptation=False)
    return str(folder / networks)


def _child(
    way: str, sdk: str | None, cores: int, bundle: str, options: argparse.Namespace
) -> "subprocess.Popen[Any]":
    command = [sys.executable, __file__, "--turns", way, bundle, "--cores", str(cores)]
    command += ["--device", options.device]
    command += [flag for flag in ("--find", "--crowd") if getattr(options, flag[2:])]
    environment = os.environ | ({"PYTHONPATH": sdk} if sdk else {})
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _turn(child: "subprocess.Popen[Any]", people: int) -> float:
    print(people, file=child.stdin, flush=True)
    return float(child.stdout.readline())  # type: ignore[union-attr]


def _take_turns(options: argparse.Namespace) -> None:
    """A child: for each number of people on stdin, the seconds for them."""
    way, bundle = options.turns
    (cores,) = options.cores
    if hasattr(os, "sched_setaffinity"):  # not on every system
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    recoverer = dualhmr.Recoverer(
        bundle or None, device=options.device, options=dualhmr.EngineOptions(threads=cores)
    )
    for line in sys.stdin:
        run = _work(recoverer, way, int(line), options)
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


def _work(
    recoverer: dualhmr.Recoverer, way: str, people: int, options: argparse.Namespace
) -> Callable[[], object]:
    image, keypoints = example()
    noise = np.random.default_rng(0).normal(0, 2, (people, *keypoints.xy.shape[1:]))
    xy = (keypoints.xy + noise).astype(np.float32)
    everybody = dualhmr.Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, people, 0))
    each: list[Any] = (
        [None] * people
        if options.find
        else [everybody.select([person]) for person in range(people)]
    )
    if options.crowd:
        each = [everybody]
    images = [image] * len(each)
    if way == BATCH:
        return lambda: recoverer.recover_batch(images, each)
    return lambda: [recoverer.recover(*pair) for pair in zip(images, each, strict=True)]


def _measure_memory(counts: Sequence[int]) -> None:
    image, keypoints = example()
    large = np.tile(image, (4, 4, 1))
    items = (dualhmr.Photo(large.copy(), keypoints) for _ in range(max(counts)))
    for count, _ in enumerate(dualhmr.Recoverer().stream(items, max_steps=3), start=1):
        if count in counts:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            print(f"{count} items: {megabytes:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
