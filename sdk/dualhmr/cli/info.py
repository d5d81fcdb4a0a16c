"""Describe a bundle: its networks, their inputs, and where they come from."""

import argparse
from pathlib import Path

from dualhmr.bundle import Bundle, NetworkSpec, open_bundle

NAME = "info"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("bundle", type=Path, nargs="?", help="the default networks if left out")


def run(options: argparse.Namespace) -> int:
    """Prints the description."""
    print(describe(open_bundle(options.bundle)))
    return 0


def describe(bundle: Bundle) -> str:
    """A bundle in a few lines, for people."""
    manifest = bundle.manifest
    schedule = manifest.schedule
    height, width = manifest.image_size
    lines = {
        "bundle": f"{manifest.name} ({bundle.folder})",
        "about": manifest.description,
        "format": f"{manifest.format} {manifest.format_version}",
        "body": manifest.body,
        "main network": _network(manifest.main),
        "auxiliary network": _network(manifest.auxiliary),
        "crop": f"{height}x{width}, {manifest.camera} camera, keypoint set {manifest.keypoint_set}",
        "schedule": f"{schedule.name}, Adam {schedule.adam_rate:g}, "
        f"plain descent {schedule.descent_rate:g}{_clipped(schedule.descent_max_norm)}, "
        f"tolerance {schedule.tolerance:g}",
        **{f"from: {name}": _shortened(value) for name, value in manifest.provenance.items()},
        "files": ", ".join(f"{name} {_size(bundle.path(name))}" for name in manifest.files),
    }
    return "\n".join(f"{name + ':':20}{value}" for name, value in lines.items())


def _clipped(max_norm: float | None) -> str:
    return "" if max_norm is None else f" clipped at {max_norm:g}"


def _network(spec: NetworkSpec) -> str:
    units = f"{spec.hidden} hidden units" if spec.hidden else "no hidden layers"
    return (
        f"{spec.backbone}, reads {' and '.join(spec.reads)}; head with {units}, "
        f"{spec.iterations} iteration{'s' * (spec.iterations > 1)}"
    )


def _shortened(text: str, length: int = 120) -> str:
    return text if len(text) <= length else f"{text[:length]}... (the rest is in manifest.json)"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
