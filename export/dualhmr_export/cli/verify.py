"""Compare a bundle's exported networks with its PyTorch weights, on real crops.

Prints the largest errors and whether they are within bounds; if not, the exit status is 1.
"""

import argparse
import sys
from pathlib import Path

from dualhmr.engines import BACKENDS

NAME = "verify"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "bundle", type=Path, nargs="?", help="folder of a bundle (default: the default bundle)"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="onnxruntime")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--body", type=Path, help="body to measure meshes on (default: the free body)"
    )


def run(options: argparse.Namespace) -> int:
    """Compares and prints."""
    from dualhmr.body.model import load_body
    from dualhmr.bundle import open_bundle
    from dualhmr_export.verify import verify

    report = verify(
        open_bundle(options.bundle),
        backend=options.backend,
        device=options.device,
        body=load_body(options.body) if options.body else None,
    )
    print(report)
    if not report.holds:
        print("the exported networks are out of bounds", file=sys.stderr)
    return 0 if report.holds else 1
