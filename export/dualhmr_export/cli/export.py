"""Export a checkpoint to a bundle: ONNX graphs, TensorRT engines, and the head to adapt.

Reads checkpoints of Meta-HMR, CLIFF and SPIN, and folders that `dualhmr train` wrote. Every graph
is compared with PyTorch on real crops; if one is out of bounds, no bundle is written.
"""

import argparse
import sys
from pathlib import Path

from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.bundle import PRECISIONS

NAME = "export"
FORMATS = ("onnx", "tensorrt", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "checkpoint", type=Path, help="a release's file, or the folder of a training"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    parser.add_argument(
        "--auxiliary", type=Path, metavar="CHECKPOINT",
        help="auxiliary network, for a checkpoint of one network (default: the same network)",
    )  # fmt: skip
    parser.add_argument("--mean-params", type=Path, help="smpl_mean_params.npz, for SPIN's hmr.pt")
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0],
        help="tensorrt adds engines to the ONNX graphs; torch: weights for PyTorch alone, which "
        "need no ONNX package and are not compared",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=PRECISIONS[0],
        help="int8 is for convolutional backbones on a CPU (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=Path, metavar="FOLDER",
        help="photographs with people to calibrate int8 on (default: rendered people)",
    )  # fmt: skip
    parser.add_argument(
        "--max-batch", type=int, default=8, metavar="N", help="persons at once (%(default)s)"
    )
    parser.add_argument(
        "--target", metavar="SM86",
        help="compute capability to build engines for without its GPU (TensorRT-RTX only)",
    )  # fmt: skip
    parser.add_argument(
        "--body", type=Path,
        help="body that the networks regress, for adaptation.onnx (default: the free body)",
    )  # fmt: skip
    parser.add_argument(
        "--extra-joints", type=Path,
        help="SPIN's J_regressor_extra.npy, which is copied into the bundle",
    )  # fmt: skip
    parser.add_argument(
        "--schedule",
        choices=SCHEDULE_NAMES,
        help="schedule of adaptation.onnx (default: the networks' own)",
    )
    parser.add_argument(
        "--step-graphs",
        action="store_true",
        help="add the graphs of single steps, which --adaptation tensorrt runs",
    )
    parser.add_argument(
        "--graphs-only",
        action="store_true",
        help="leave out PyTorch's weights of the frozen networks once the graphs are compared",
    )


def run(options: argparse.Namespace) -> int:
    """Exports, compares and prints."""
    from dualhmr.body.model import load_body
    from dualhmr_export.bundle_folder import write_torch_bundle
    from dualhmr_export.checkpoints import import_checkpoint
    from dualhmr_export.export import EngineTarget, export, manifest_for, provenance_of

    if options.format == "torch":
        _check_torch_options(options)
    if options.calibration and options.precision != "int8":
        raise ValueError("--calibration applies to int8 only; add --precision int8")
    if options.target and options.format != "tensorrt":
        raise ValueError("--target applies to engines only; add --format tensorrt")
    body = load_body(options.body) if options.body else None
    engines = EngineTarget(options.target) if options.format == "tensorrt" else None
    imported = import_checkpoint(
        options.checkpoint, auxiliary=options.auxiliary, mean_params=options.mean_params
    )
    sources = [options.checkpoint, options.auxiliary, options.mean_params]
    manifest = manifest_for(
        imported,
        name=options.name or options.out.name,
        description=imported.kind,
        provenance=provenance_of([source for source in sources if source]),
        precision=options.precision,
        max_batch=options.max_batch,
    )
    if options.format == "torch":
        write_torch_bundle(
            options.out,
            imported.main,
            imported.auxiliary,
            manifest,
            extra_joints=options.extra_joints,
        )
        _say(f"the bundle is in {options.out}; PyTorch alone runs it, as backend torch")
        return 0
    report = export(
        imported,
        manifest,
        options.out,
        engines=engines,
        body=body,
        extra_joints=options.extra_joints,
        schedule=options.schedule,
        step_graphs=options.step_graphs,
        graphs_only=options.graphs_only,
        photographs=options.calibration,
        progress=_say,
    )
    print(report)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    _say(f"the bundle is in {options.out}, {size / 1e6:.1f} MB")
    return 0


def _check_torch_options(options: argparse.Namespace) -> None:
    """Raises ValueError for options that a bundle of PyTorch weights would ignore."""
    if options.graphs_only:
        raise ValueError("--format torch writes no graphs; leave --graphs-only out")
    if options.precision != "fp32":
        raise ValueError("--format torch writes weights in fp32; leave --precision out")
    for option in ("--body", "--schedule", "--step-graphs"):
        if getattr(options, option[2:].replace("-", "_")):
            raise ValueError(
                f"{option} is of adaptation.onnx, which --format torch does not write; leave it out"
            )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
