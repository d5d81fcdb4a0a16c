"""The most memory that one way of taking steps needs, in a process of its own. Linux only.

`python -m dualhmr_benchmarks.latency.peak_memory BUNDLE METHOD` prints the resident megabytes that
the method adds.
"""

import subprocess
import sys
from pathlib import Path

from dualhmr import open_bundle
from dualhmr_benchmarks.latency.methods import methods
from dualhmr_benchmarks.latency.networks import example_problem

_STEPS = 2
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_megabytes(bundle: Path, way: str) -> float | None:
    """What adapting adds to what networks and body take; None where the system does not tell."""
    if not _RESET.exists():
        return None
    command = [sys.executable, "-m", "dualhmr_benchmarks.latency.peak_memory", str(bundle), way]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout)


def _main(bundle: str, way: str) -> None:
    problem = example_problem(open_bundle(bundle), device="cpu")
    take = methods(problem)[way]
    before = _resident("VmRSS")
    _RESET.write_text("5", encoding="ascii")  # lets the highest mark start anew
    take(_STEPS)
    print(_resident("VmHWM") - before)


def _resident(kind: str) -> float:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
