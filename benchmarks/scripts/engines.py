"""Time of the frozen networks in ONNX Runtime against PyTorch eager, interleaved in one run.

`python benchmarks/scripts/engines.py` exports the networks of the paper's release, with random
weights, and those that come with dualhmr, and times each on one person. Medians; a table.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import torch

from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions, open_networks
from dualhmr.files import markdown_table
from dualhmr_benchmarks.latency.measure import interleaved, median_milliseconds
from dualhmr_benchmarks.latency.networks import NETWORKS, networks
from dualhmr_export.parity import real_crops


class EngineTimes(NamedTuple):
    """Medians of one network, milliseconds per person."""

    network: str
    torch_ms: float
    onnxruntime_ms: float


def timed(bundle: Bundle, threads: int, repeats: int) -> Iterator[EngineTimes]:
    """Both networks of a bundle, the engines taking turns."""
    engines = [
        open_networks(bundle, backend, options=EngineOptions(threads=threads))
        for backend in ("torch", "onnxruntime")
    ]
    inputs = {name: array[:1] for name, array in real_crops(bundle.manifest).items()}
    for role, spec in (
        ("backbone", bundle.manifest.main),
        ("auxiliary", bundle.manifest.auxiliary),
    ):
        runs = {engine.backend: partial(getattr(engine, role), inputs) for engine in engines}
        seconds = interleaved(runs, repeats)
        yield EngineTimes(f"{role}, {spec.backbone}", *map(median_milliseconds, seconds.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(
        f"{options.threads} thread(s), medians of {options.repeats}, "
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}\n"
    )
    rows: list[tuple[str, ...]] = [
        ("network", "PyTorch, ms", "ONNX Runtime, ms", "PyTorch / ONNX Runtime")
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            bundle = networks(name, Path(folder), adaptation=False)
            for network, *times in timed(bundle, options.threads, options.repeats):
                figures = (*times, times[0] / times[1])
                rows.append((network, *(f"{figure:.2f}" for figure in figures)))
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
