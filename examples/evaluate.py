"""Measure 3D errors before and after every step of adaptation, on synthetic people.

Run: python examples/evaluate.py
Needs: pip install "dualhmr[training]"
The same on the command line: dualhmr evaluate --json errors.json
docs/how_to/evaluating.md describes evaluation on poses of your own and on licensed data sets.
"""

import argparse
import json
from pathlib import Path

from dualhmr.cli import main

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("poses", type=Path, nargs="?", help="captured poses (default: a prior)")
parser.add_argument("--people", type=int, default=50)
parser.add_argument("--max-steps", type=int, default=14)
parser.add_argument("--json", type=Path, default=Path("errors.json"))
options = parser.parse_args()

poses = [] if options.poses is None else ["--poses", str(options.poses)]
main(
    ["evaluate", *poses, "--count", str(options.people),
     "--max-steps", str(options.max_steps), "--schedule", "trained", "eft",
     "--noise", "0.02", "--json", str(options.json)]
)  # fmt: skip
for evaluation in json.loads(options.json.read_text())["evaluations"]:
    errors = evaluation["measures"]["pa_mpjpe_mm"]["mean"]  # at the start and after every step
    print(f"{evaluation['schedule']}: PA-MPJPE {errors[0]:.1f} -> {errors[-1]:.1f} mm")
