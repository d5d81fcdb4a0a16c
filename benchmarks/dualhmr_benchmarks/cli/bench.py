"""Measure how long a test-time step takes, against the paper's formulation.

Times every method of taking steps, on the default networks and on the paper's architectures with
random weights. Methods take turns; medians are printed with their ratio to the paper's formulation.
"""

import argparse
import sys
import tempfile
from pathlib import Path

NAME = "bench"
NETWORKS = ("default", "resnet50", "hrnet_w48")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=7, help="(%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="bars (.png)")


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes the files."""
    import torch

    from dualhmr_benchmarks.latency.measure import measure
    from dualhmr_benchmarks.latency.report import (
        latency_tables,
        write_latency_json,
        write_latency_plot,
    )

    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(
            options.networks,
            Path(folder),
            rounds=options.rounds,
            device=options.device,
            say=lambda message: print(message, file=sys.stderr, flush=True),
        )
    print(latency_tables(report))
    if options.json:
        write_latency_json(report, options.json)
    if options.plot:
        write_latency_plot(report, options.plot)
    return 0
