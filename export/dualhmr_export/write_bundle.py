"""Writing a bundle: two networks in, a folder that the SDK opens out."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.bundle import sha256
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.keypoints import keypoint_set
from dualhmr.manifest import OPTIONAL_FILES, REQUIRED_FILES, Manifest, write_manifest
from dualhmr.networks import MeshRegressor
from dualhmr.networks.frozen import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
)
from dualhmr.weights import save_weights
from dualhmr_export.onnx_files import export_onnx


def write_bundle(
    folder: Path, main: MeshRegressor, auxiliary: MeshRegressor, manifest: Manifest
) -> None:
    """Exports both networks into `folder`, which must not be there yet.

    The networks' weights are first rounded to half precision, in place, and are stored so for
    PyTorch: then both engines compute with the same numbers, and the folder stays small. `manifest`
    says everything but the hashes, which are filled in. All or nothing: the folder appears only
    when it is complete. Raises FileExistsError.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is already there; remove it, or export to another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write_files(staging, main, auxiliary, manifest)
        staging.chmod(0o755)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(
    folder: Path, main: MeshRegressor, auxiliary: MeshRegressor, manifest: Manifest
) -> None:
    for network in (main, auxiliary):
        _round_to_half(network)
    example = example_inputs(manifest)
    backbone, frozen = FrozenBackbone(main), FrozenAuxiliary(auxiliary)
    export_onnx(
        backbone, _named(example, backbone.reads), BACKBONE_OUTPUTS, folder / "backbone.onnx"
    )
    export_onnx(frozen, _named(example, frozen.reads), AUXILIARY_OUTPUTS, folder / "auxiliary.onnx")
    save_weights(main.head, folder / "head.safetensors", dtype=torch.float16)
    save_weights(main.backbone, folder / "backbone.safetensors", dtype=torch.float16)
    save_weights(auxiliary, folder / "auxiliary.safetensors", dtype=torch.float16)
    hashes = {name: sha256(folder / name) for name in (*REQUIRED_FILES, *OPTIONAL_FILES)}
    write_manifest(folder, replace(manifest, files=hashes))
    for file in folder.iterdir():
        file.chmod(0o644)


def example_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Two persons' worth of every input that networks read, by name."""
    keypoints = len(keypoint_set(manifest.keypoint_set))
    makers: dict[str, Callable[[], Tensor]] = {
        "image": lambda: torch.zeros(2, CROP_HEIGHT, CROP_WIDTH, 3, dtype=torch.uint8),
        "keypoints": lambda: torch.full((2, keypoints, 3), 0.5),
        "box_info": lambda: torch.zeros(2, 3),
    }
    return {name: make() for name, make in makers.items()}


def _named(example: dict[str, Tensor], reads: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: example[name] for name in reads}


@torch.no_grad()
def _round_to_half(network: MeshRegressor) -> None:
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
