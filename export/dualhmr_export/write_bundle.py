"""Write a bundle: the folder of ONNX graphs, weights and manifest that the SDK opens."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dualhmr.body.files import ExtraJoints, read_extra_joints
from dualhmr.body.model import Body
from dualhmr.bundle import (
    ADAPTATION_GRAPH,
    EXTRA_JOINTS,
    OPTIONAL_FILES,
    REQUIRED_FILES,
    Manifest,
    write_manifest,
)
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


def write_bundle(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    body: Body | None = None,
    extra_joints: ExtraJoints | None = None,
    schedule: str | None = None,
    stored: torch.dtype = torch.float32,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> None:
    """Exports both networks into `folder`, a new one.

    The backbones of the ONNX files compute in `manifest.precision`. PyTorch's weights are stored as
    `stored`. For another type than float32, the networks are rounded to it first, in place, so that
    all engines compute with the same numbers. `manifest` is complete except for the files' hashes.

    With the `body` that the networks regress, the bundle has `adaptation.onnx`, which adapts by the
    schedule of that name (None: the manifest's own).

    `extra_joints`, SPIN's, are copied into the bundle, for bodies of whoever opens it.

    `finish` is called with the complete folder, under a temporary name; it may add files or raise.
    Nothing is left behind if anything raises. Raises FileExistsError.
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
        if extra_joints is not None:
            np.save(staging / EXTRA_JOINTS, read_extra_joints(extra_joints))
        optional = [name for name in OPTIONAL_FILES if (staging / name).exists()]
        hashes = {name: sha256(staging / name) for name in (*REQUIRED_FILES, *optional)}
        write_manifest(staging, replace(manifest, files=hashes))
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

    def typed(network: MeshRegressor) -> MeshRegressor:
        return in_precision(network, manifest.precision, example)

    def write_onnx(
        frozen: FrozenBackbone | FrozenAuxiliary, outputs: tuple[str, ...], file: str
    ) -> None:
        inputs = {name: example[name] for name in frozen.reads}
        export_onnx(frozen, inputs, outputs, folder / file, opset=OPSETS[manifest.precision])

    # One after the other, so that only one copy of a network is in memory.
    write_onnx(FrozenBackbone(typed(main)), BACKBONE_OUTPUTS, "backbone.onnx")
    write_onnx(FrozenAuxiliary(typed(auxiliary)), AUXILIARY_OUTPUTS, "auxiliary.onnx")


def example_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Every input that networks read, by name, for two persons."""
    keypoints = len(network_keypoints(manifest.keypoint_set).set)
    return {
        "image": torch.zeros(2, *manifest.image_size, 3, dtype=torch.uint8),
        "keypoints": torch.full((2, keypoints, 3), 0.5),
        "box_info": torch.zeros(2, 3),
    }


@torch.no_grad()
def _round_to(network: nn.Module, dtype: torch.dtype) -> None:
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))


def _make_readable(folder: Path) -> None:
    """Like other new files: temporary folders and files moved into them belong to one user."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
