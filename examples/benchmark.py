"""Measure what a test-time step costs on this machine, against the paper's formulation.

Run: python examples/benchmark.py --networks default
Needs: pip install "dualhmr[export]"
The same on the command line: dualhmr bench --networks default
"""

import argparse
import tempfile
from pathlib import Path

from dualhmr_benchmarks.latency.measure import measure
from dualhmr_benchmarks.latency.report import latency_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--networks", nargs="+", default=["default"], help="default resnet50 hrnet_w48")
parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
parser.add_argument("--rounds", type=int, default=5, help="medians are over these (%(default)s)")
options = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    report = measure(
        options.networks,
        Path(folder),
        rounds=options.rounds,
        device=options.device,
        say=print,
    )
print(latency_tables(report))
