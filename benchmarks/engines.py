"""Time of the frozen networks in ONNX Runtime against PyTorch eager, interleaved in one run.

`python benchmarks/engines.py` exports the networks of the paper's release, with random weights, and
those that come with dualhmr, and times every one of them on one person. Medians; a table.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import torch

from dualhmr import open_bundle
from dualhmr.bundle import Bundle
from dualhmr.engines import EngineOptions, FrozenNetwork, open_networks
from dualhmr.keypoints import SPIN_49
from dualhmr.loss_weights import LossWeights
from dualhmr.manifest import Manifest, NetworkSpec, ScheduleDefaults
from dualhmr_export.parity_inputs import real_crops
from dualhmr_export.write_bundle import write_bundle

WARM_UP = 2


class Timed(NamedTuple):
    """Medians of one network, milliseconds per person."""

    network: str
    torch_ms: float
    onnxruntime_ms: float

    @property
    def row(self) -> str:
        """In the table."""
        ratio = self.torch_ms / self.onnxruntime_ms
        return f"| {self.network} | {self.torch_ms:.2f} | {self.onnxruntime_ms:.2f} | {ratio:.2f} |"


def release_bundle(folder: Path, main: str, auxiliary: str) -> Bundle:
    """A bundle of the release's architecture with random weights."""
    specs = [
        NetworkSpec(name, {}, ("image", "box_info"), 1024, iterations, head_reads_box_info=True)
        for name, iterations in ((main, 10), (auxiliary, 3))
    ]
    torch.manual_seed(0)
    main_network, auxiliary_network = (spec.build() for spec in specs)
    manifest = Manifest(
        name=folder.name,
        description="random weights",
        body="smpl",
        main=specs[0],
        auxiliary=specs[1],
        image_size=(256, 192),
        keypoint_set=SPIN_49,
        camera="cliff",
        weights=LossWeights(),
        schedule=ScheduleDefaults(),
        files={},
        provenance={},
    )
    write_bundle(folder, main_network, auxiliary_network, manifest)
    return open_bundle(folder)


def timed(bundle: Bundle, threads: int, repeats: int) -> Iterator[Timed]:
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
        networks: list[FrozenNetwork] = [getattr(engine, role) for engine in engines]
        seconds: list[list[float]] = [[], []]
        for repeat in range(WARM_UP + repeats):
            for network, taken in zip(networks, seconds, strict=True):
                start = time.perf_counter()
                network(inputs)
                if repeat >= WARM_UP:
                    taken.append(time.perf_counter() - start)
        medians = [1000 * statistics.median(taken) for taken in seconds]
        yield Timed(f"{role}, {spec.backbone}", *medians)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(
        f"{options.threads} thread(s), medians of {options.repeats}, "
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}\n\n"
        "| network | PyTorch, ms | ONNX Runtime, ms | PyTorch / ONNX Runtime |\n"
        "| --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for bundle in (
            open_bundle(),
            release_bundle(Path(folder) / "resnet", "resnet50", "resnet50"),
            release_bundle(
                Path(folder) / "hrnet", "hrnet_w48_concatenated", "hrnet_w48_classification"
            ),
        ):
            for each in timed(bundle, options.threads, options.repeats):
                print(each.row, flush=True)


if __name__ == "__main__":
    main()
