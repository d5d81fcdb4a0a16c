"""Run the frozen networks in TensorRT on a GPU, and adapt the head with CUDA graphs.

Run: python examples/tensorrt_backend.py
Needs: a CUDA GPU, pip install "dualhmr[cuda13]" (or cuda12, see docs/install.md)
The first run builds the engines, which takes minutes; later runs load them from the cache.
"""

import argparse
import logging
from pathlib import Path

import dualhmr
from dualhmr.example import example

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--bundle", type=Path, help="the default networks if left out")
parser.add_argument("--device", default="cuda", help="cuda or cuda:N (%(default)s)")
parser.add_argument("--cache", type=Path, help="folder of built engines (default: the user's)")
options = parser.parse_args()

logging.basicConfig(level=logging.INFO)  # says which engines are built or loaded
recoverer = dualhmr.Recoverer(
    options.bundle,
    device=options.device,
    backend="tensorrt",  # an error where TensorRT cannot run; "auto" takes the next best
    options=dualhmr.EngineOptions(max_batch=8, cuda_graph=True, cache_folder=options.cache),
)
image, keypoints = example()
for run in ("first", "second"):
    recovery = recoverer.recover(image, keypoints)
    print(f"{run}: {sum(recovery.timings_ms.values()):.1f} ms on {recovery.engine}")
