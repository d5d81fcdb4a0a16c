"""A bundle's folder, written whole or not at all; its PyTorch weights. Needs no ONNX package."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dualhmr.body.files import ExtraJoints, read_extra_joints
from dualhmr.bundle import BUNDLE_FILES, EXTRA_JOINTS, Manifest, read_manifest, write_manifest
from dualhmr.files import sha256
from dualhmr.networks import MeshRegressor
from dualhmr.weights import save_weights


@contextmanager
def new_bundle(
    folder: Path,
    manifest: Manifest,
    *,
    extra_joints: ExtraJoints | None = None,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> Iterator[Path]:
    """Lends a folder to write the files of a bundle into, which becomes `folder` at the end.

    `manifest` is complete except for the files' hashes. `extra_joints`, SPIN's, are copied into the
    bundle. `finish` is called with the complete folder, under a temporary name; it may add files or
    raise. Nothing is left behind if anything raises. Raises FileExistsError.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is already there; remove it, or export to another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield staging
        if extra_joints is not None:
            np.save(staging / EXTRA_JOINTS, read_extra_joints(extra_joints))
        there = [name for name in BUNDLE_FILES if (staging / name).exists()]
        hashes = {name: sha256(staging / name) for name in there}
        write_manifest(staging, replace(manifest, files=hashes))
        finish(staging)
        _make_readable(staging)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def drop_files(folder: Path, names: Collection[str]) -> None:
    """Deletes files of the bundle in `folder`, and their hashes."""
    manifest = read_manifest(folder)
    files = {name: digest for name, digest in manifest.files.items() if name not in names}
    write_manifest(folder, replace(manifest, files=files))
    for name in names:
        (folder / name).unlink()


def write_torch_bundle(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    extra_joints: ExtraJoints | None = None,
    stored: torch.dtype = torch.float32,
) -> None:
    """Writes both networks into `folder`, a new one, as weights that only PyTorch can run.

    Nothing is exported or compared. For another type `stored` than float32, the networks are
    rounded to it first, in place. Raises as `new_bundle`.
    """
    with new_bundle(folder, manifest, extra_joints=extra_joints) as staging:
        save_networks(staging, main, auxiliary, manifest, stored=stored)


def save_networks(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    stored: torch.dtype,
) -> None:
    """The weights of head, backbone and auxiliary network, which are rounded to `stored` first.

    Where `manifest` says that the networks share a backbone, of `auxiliary` only the head.
    """
    for network in (main, auxiliary):
        _round_to(network, stored)
    save_weights(main.head, folder / "head.safetensors", dtype=stored)
    save_weights(main.backbone, folder / "backbone.safetensors", dtype=stored)
    own = auxiliary.head if manifest.shared_backbone else auxiliary
    save_weights(own, folder / "auxiliary.safetensors", dtype=stored)


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
