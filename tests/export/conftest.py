"""Fixtures for tests of exports."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_bodies import fake_smpl_arrays, write_smpl_npz
from helpers.small_bundle import IMAGE_SPEC, SPEC, upright
from helpers.tiny_training import TINY

from dualhmr.body.model import load_body
from dualhmr.objective.weights import LossWeights
from dualhmr.weights import save_weights
from dualhmr_training.training_folder import training_record, write_record


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like SMPL's, of nobody in particular."""
    return write_smpl_npz(tmp_path_factory.mktemp("body") / "smpl.npz", fake_smpl_arrays())


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """What `dualhmr train` leaves: a network of pixels and one of keypoints."""
    folder = tmp_path / "run"
    folder.mkdir()
    weights = LossWeights(vertices=0.0)
    config = replace(TINY, main=IMAGE_SPEC, auxiliary=SPEC, weights=weights)
    write_record(folder, training_record(config, load_body()))
    save_weights(upright(IMAGE_SPEC, 1), folder / "main.safetensors")
    save_weights(upright(SPEC, 2), folder / "auxiliary.safetensors")
    return folder
