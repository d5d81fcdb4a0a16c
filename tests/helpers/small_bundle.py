"""Bundles with small untrained networks, for tests: in all else they are like real ones."""

import dataclasses
from pathlib import Path

import torch

from dualhmr.body.files import FREE_BODY
from dualhmr.bundle import (
    Manifest,
    NetworkSpec,
    ScheduleDefaults,
    open_bundle,
    write_manifest,
)
from dualhmr.files import sha256
from dualhmr.keypoints import BODY_23
from dualhmr.networks import BACKBONES, MeshRegressor
from dualhmr.objective.weights import LossWeights
from dualhmr_export.write_bundle import write_bundle
from helpers.tiny_image_backbone import TinyImageBackbone

BACKBONES["tiny_image"] = TinyImageBackbone

SPEC = NetworkSpec(
    backbone="keypoint_trunk",
    backbone_options={"keypoint_count": len(BODY_23), "feature_count": 16, "blocks": 1},
    reads=("keypoints", "box_info"),
    hidden=8,
    iterations=2,
    head_reads_box_info=False,
)
IMAGE_SPEC = NetworkSpec(
    backbone="tiny_image",
    backbone_options={},
    reads=("image", "box_info"),
    hidden=16,
    iterations=3,
    head_reads_box_info=True,
)
MANIFEST = Manifest(
    name="small",
    description="untrained",
    body=FREE_BODY,
    main=SPEC,
    auxiliary=SPEC,
    image_size=(256, 192),
    keypoint_set=BODY_23.name,
    camera="cliff",
    weights=LossWeights(vertices=0.0),
    schedule=ScheduleDefaults(adam_rate=1e-3, descent_rate=1e-3),
    files={},
    provenance={"data": "none"},
)


def upright(spec: NetworkSpec, seed: int) -> MeshRegressor:
    """An untrained network whose bodies stand upright before the camera."""
    torch.manual_seed(seed)
    network = spec.build().eval()
    network.head.init_pose[0, :6] = torch.tensor([1.0, 0, 0, -1, 0, 0])
    return network


_EXPORTED: dict[str, dict[str, bytes]] = {}
"""Files by what they depend on: each is exported once in a process."""


def write_small_bundle(folder: Path, **changes: object) -> Path:
    """Exports a small bundle into `folder`; `changes` replace fields of its manifest."""
    manifest = dataclasses.replace(MANIFEST, **changes)  # type: ignore[arg-type]
    networks = manifest.main, manifest.auxiliary, manifest.shared_backbone
    key = repr((networks, manifest.precision, manifest.keypoint_set, manifest.image_size))
    if key not in _EXPORTED:
        write_bundle(folder, upright(manifest.main, 1), upright(manifest.auxiliary, 2), manifest)
        files = open_bundle(folder).manifest.files
        _EXPORTED[key] = {name: (folder / name).read_bytes() for name in files}
        return folder
    folder.mkdir(parents=True)
    for name, content in _EXPORTED[key].items():
        (folder / name).write_bytes(content)
    files = {name: sha256(folder / name) for name in _EXPORTED[key]}
    write_manifest(folder, dataclasses.replace(manifest, files=files))
    return folder
