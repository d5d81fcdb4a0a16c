"""Where a bundle's weights come from."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dualhmr.body.model import Body
from dualhmr.bundle import (
    ADAPTATION_GRAPH,
    OPTIONAL_FILES,
    REQUIRED_FILES,
    Manifest,
    write_manifest,
)
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.files import sha256
from dualhmr.keypoints import network_keypoints
from dualhmr.networks import MeshRegressor
from dualhmr.networks.regressor import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
)
from dualhmr.weights import save_weights
from dualhmr_export.adaptation_graph import write_adaptation_graph
from dualhmr_export.onnx_files import OPSETS, export_onnx, in_precision
from dualhmr_training.training_folder import read_record


def provenance_of(sources: Iterable[Path]) -> dict[str, str]:
    """Of files their sha256, of trainings their record (commit, configuration, data), by name."""
    return {
        source.name: json.dumps(read_record(source)) if source.is_dir() else sha256(source)
        for source in sources
    }


def write_bundle(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    body: Body | None = None,
    schedule: str | None = None,
    stored: torch.dtype = torch.float32,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> None:
    """Exports both networks into `folder`, which must not be there yet.

    The backbones of the ONNX files compute in `manifest.precision`. PyTorch's weights are stored as
    `stored`; what is not float32 the networks are rounded to first, in place: then both engines
    compute with the same numbers. `manifest` says everything but the hashes, which are filled in.

    With the `body` that the networks regress, the bundle has `adaptation.onnx`, by the schedule of
    that name (None: the manifest's own).

    `finish` is called with the complete folder before it gets its name, and adds to it or raises.
    All or nothing: where anything is raised, no folder appears. Raises FileExistsError.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is already there; remove it, or export to another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write_networks(staging, main, auxiliary, manifest, stored)
        if body is not None:
            write_adaptation_graph(
                staging / ADAPTATION_GRAPH, main.head, manifest, body, schedule=schedule
            )
        _write_manifest(staging, manifest)
        finish(staging)
        _make_readable(staging)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_networks(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    stored: torch.dtype,
) -> None:
    for network in (main, auxiliary):
        _round_to(network, stored)
    save_weights(main.head, folder / "head.safetensors", dtype=stored)
    save_weights(main.backbone, folder / "backbone.safetensors", dtype=stored)
    save_weights(auxiliary, folder / "auxiliary.safetensors", dtype=stored)
    example = example_inputs(manifest)
    typed = [in_precision(network, manifest.precision, example) for network in (main, auxiliary)]
    for frozen, outputs, file in (
        (FrozenBackbone(typed[0]), BACKBONE_OUTPUTS, "backbone.onnx"),
        (FrozenAuxiliary(typed[1]), AUXILIARY_OUTPUTS, "auxiliary.onnx"),
    ):
        given = {name: example[name] for name in frozen.reads}
        export_onnx(frozen, given, outputs, folder / file, opset=OPSETS[manifest.precision])


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    optional = [name for name in OPTIONAL_FILES if (folder / name).exists()]
    hashes = {name: sha256(folder / name) for name in (*REQUIRED_FILES, *optional)}
    write_manifest(folder, replace(manifest, files=hashes))


def example_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Two persons' worth of every input that networks read, by name."""
    keypoints = len(network_keypoints(manifest.keypoint_set).set)
    makers: dict[str, Callable[[], Tensor]] = {
        "image": lambda: torch.zeros(2, CROP_HEIGHT, CROP_WIDTH, 3, dtype=torch.uint8),
        "keypoints": lambda: torch.full((2, keypoints, 3), 0.5),
        "box_info": lambda: torch.zeros(2, 3),
    }
    return {name: make() for name, make in makers.items()}


@torch.no_grad()
def _round_to(network: nn.Module, dtype: torch.dtype) -> None:
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))


def _make_readable(folder: Path) -> None:
    """Temporary folders, and files moved into them, are their owner's alone."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
