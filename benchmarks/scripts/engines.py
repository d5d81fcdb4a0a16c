"""Time of the frozen networks in ONNX Runtime against PyTorch eager, interleaved in one run.

`python benchmarks/scripts/engines.py` exports the networks of the paper's release, with random
weights, and those that come with dualhmr, and times each on one person; convolutional ones in int8
too. Medians; a table.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch

from dualhmr.body.model import load_body
from dualhmr.bundle import Bundle, open_bundle
from dualhmr.engines import EngineOptions, FrozenNetworks, open_networks
from dualhmr.engines.torch_networks import torch_networks
from dualhmr.files import markdown_table
from dualhmr_benchmarks.latency.measure import interleaved, median_milliseconds
from dualhmr_benchmarks.latency.networks import NETWORKS, networks
from dualhmr_export.calibration import calibration
from dualhmr_export.int8 import QUANTISED_BACKBONES
from dualhmr_export.parity import BOUNDS, frozen_differences, real_crops
from dualhmr_export.write_bundle import write_bundle


class NetworkTimes(NamedTuple):
    """Medians of one network by engine, milliseconds per person, and the sizes of its graphs."""

    network: str
    milliseconds: dict[str, float]
    megabytes: dict[str, float]
    int8_error: str
    """The largest over eight crops: of the backbone's features, or of the auxiliary's meshes."""


def in_int8(bundle: Bundle) -> Bundle:
    """The same networks, quantised, beside `bundle`."""
    folder = bundle.folder.with_name(f"{bundle.folder.name}_int8")
    manifest = replace(bundle.manifest, precision="int8")
    people = calibration(manifest)
    write_bundle(folder, *torch_networks(bundle), manifest, calibration=people.inputs)
    return open_bundle(folder)


def timed(bundle: Bundle, threads: int, repeats: int) -> Iterator[NetworkTimes]:
    """Both networks of a bundle, the engines taking turns."""
    options = EngineOptions(threads=threads)
    opened = {
        name: open_networks(bundle, name, options=options) for name in ("torch", "onnxruntime")
    }
    graphs = {"onnxruntime": bundle}
    if bundle.manifest.main.backbone in QUANTISED_BACKBONES:
        graphs["int8"] = in_int8(bundle)
        opened["int8"] = open_networks(graphs["int8"], "onnxruntime", options=options)
    crops = real_crops(bundle.manifest)
    one = {name: array[:1] for name, array in crops.items()}
    specs = bundle.manifest.main, bundle.manifest.auxiliary
    errors = _int8_errors(opened, crops)
    for role, spec, error in zip(("backbone", "auxiliary"), specs, errors, strict=True):
        runs = {name: partial(getattr(each, role), one) for name, each in opened.items()}
        medians = dict(
            zip(runs, map(median_milliseconds, interleaved(runs, repeats).values()), strict=True)
        )
        sizes = {n: b.path(f"{role}.onnx").stat().st_size / 1e6 for n, b in graphs.items()}
        yield NetworkTimes(f"{role}, {spec.backbone}", medians, sizes, error)


def _int8_errors(opened: dict[str, FrozenNetworks], crops: dict[str, np.ndarray]) -> list[str]:
    """Of the features and of meshes, as `dualhmr verify` prints them."""
    if "int8" not in opened:
        return ["", ""]
    pair = opened["torch"], opened["int8"]
    features, mesh = frozen_differences(*pair, crops, load_body(), BOUNDS["int8"])
    return [f"{features.relative:.1e} relative", f"{mesh.absolute:.2g} mm"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, help=", ".join(NETWORKS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(
        f"{options.threads} thread(s), medians of {options.repeats}, "
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}\n"
    )
    rows: list[tuple[str, ...]] = [
        ("network", "PyTorch, ms", "ONNX Runtime, ms", "int8, ms", "PyTorch / ONNX Runtime",
         "fp32 / int8", "MB", "MB of int8", "error of int8")
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            bundle = networks(name, Path(folder), adaptation=False)
            rows += [_row(times) for times in timed(bundle, options.threads, options.repeats)]
    print(markdown_table(rows))


def _row(times: NetworkTimes) -> tuple[str, ...]:
    torch_ms, fp32_ms = times.milliseconds["torch"], times.milliseconds["onnxruntime"]
    int8_ms = times.milliseconds.get("int8", float("nan"))
    figures = (torch_ms, fp32_ms, int8_ms, torch_ms / fp32_ms, fp32_ms / int8_ms)
    sizes = (times.megabytes["onnxruntime"], times.megabytes.get("int8", float("nan")))
    texts = [
        *(f"{figure:.2f}" for figure in figures),
        *(f"{size:.1f}" for size in sizes),
        times.int8_error,
    ]
    return (times.network, *("" if text == "nan" else text for text in texts))


if __name__ == "__main__":
    main()
