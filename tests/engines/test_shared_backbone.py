"""A network that is its own auxiliary runs once: the pseudo mesh is read out of its features."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_bundle import IMAGE_SPEC, MANIFEST, SPEC, upright

from dualhmr import Recoverer, open_bundle
from dualhmr.bundle import FROZEN_GRAPHS, HEAD_WEIGHTS
from dualhmr.example import example
from dualhmr_export.write_bundle import write_bundle
from dualhmr_training.training_folder import open_networks


@pytest.fixture(scope="module", params=[IMAGE_SPEC, SPEC], ids=["image", "keypoints"])
def bundles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shared` and `own`: the same network as main and auxiliary one."""
    folder, spec = tmp_path_factory.mktemp("bundles"), request.param
    network = upright(spec, 1)
    for name in ("shared", "own"):
        manifest = dataclasses.replace(
            MANIFEST, main=spec, auxiliary=spec, shared_backbone=name == "shared"
        )
        write_bundle(folder / name, network, network, manifest)
    return folder


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_as_with_a_backbone_of_its_own(bundles: Path, backend: str) -> None:
    shared, own = (
        Recoverer(bundles / name, backend=backend).recover(*example(), max_steps=3)
        for name in ("shared", "own")
    )
    np.testing.assert_allclose(shared.vertices, own.vertices, atol=1e-4)
    np.testing.assert_allclose(shared.loss_history[0], own.loss_history[0], rtol=1e-4)
    (guess,) = Recoverer(bundles / "shared", backend=backend).predict(*example())
    np.testing.assert_allclose(guess.pseudo_mesh.rotations, guess.first_guess.rotations, atol=1e-5)


def test_its_files_are_of_the_head(bundles: Path) -> None:
    sizes = [
        (bundles / name / "auxiliary.safetensors").stat().st_size for name in ("shared", "own")
    ]
    assert sizes[0] < sizes[1]


def test_evaluation_opens_a_whole_network(bundles: Path) -> None:
    shared, own = (open_networks(bundles / name) for name in ("shared", "own"))
    assert shared.auxiliary is not None
    assert own.auxiliary is not None
    assert shared.auxiliary.backbone is shared.main.backbone
    assert own.auxiliary.backbone is not own.main.backbone
    expected = own.auxiliary.state_dict()
    for name, tensor in shared.auxiliary.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_networks_of_two_kinds_share_no_backbone(tmp_path: Path) -> None:
    manifest = dataclasses.replace(
        MANIFEST, files=dict.fromkeys((*FROZEN_GRAPHS, HEAD_WEIGHTS), "0")
    )
    plain = dataclasses.asdict(
        dataclasses.replace(manifest, auxiliary=IMAGE_SPEC, shared_backbone=True)
    )
    (tmp_path / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(ValueError, match="shared by networks that have keypoint_trunk and tiny_im"):
        open_bundle(tmp_path)
