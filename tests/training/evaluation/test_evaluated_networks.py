import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.small_bundle import IMAGE_SPEC, SPEC, upright, write_small_bundle
from helpers.tiny_training import TINY

from dualhmr import open_bundle
from dualhmr.adaptation.schedule import named_schedule
from dualhmr.body.model import Body
from dualhmr.bundle import write_manifest
from dualhmr.keypoints import COCO_17
from dualhmr.objective.weights import LossWeights
from dualhmr.weights import save_weights
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import EvaluationBatch
from dualhmr_training.evaluation.options import check_schedules
from dualhmr_training.training_folder import Networks, open_networks, training_record, write_record


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("networks") / "bundle", name="tiny")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, body: Body) -> Path:
    """The same networks as a training."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    folder.mkdir()
    config = replace(TINY, main=SPEC, auxiliary=SPEC, weights=LossWeights(vertices=0.0))
    write_record(folder, training_record(config, body))
    for seed, role in ((1, "main"), (2, "auxiliary")):
        save_weights(upright(SPEC, seed), folder / f"{role}.safetensors")
    return folder


def test_the_default_bundle(networks: Networks) -> None:
    assert networks.name == "default"
    assert networks.reads == {"keypoints", "box_info"}
    manifest = open_bundle().manifest
    assert networks.facts.weights == manifest.weights
    assert networks.facts.schedule == manifest.schedule


def test_a_training_and_the_bundle_made_of_it_do_the_same(
    bundle: Path, training: Path, body: Body, batch: EvaluationBatch
) -> None:
    exported, trained = open_networks(bundle), open_networks(training)
    assert (exported.name, trained.name) == ("tiny", "run")
    assert exported.facts == replace(trained.facts, schedule=exported.facts.schedule)
    schedule = named_schedule("paper", adam_rate=1e-3).limited_to(2)
    outputs = []
    for networks in (exported, trained):
        fitter = BatchFitter(networks, body, COCO_17, weights=networks.facts.weights)
        outputs.append(fitter.adapt(batch, [schedule])[0][0].outputs)
    torch.testing.assert_close(*outputs)


def test_a_bundle_without_weights_for_pytorch(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    manifest = open_bundle(bundle).manifest
    files = {name: hash_ for name, hash_ in manifest.files.items() if "backbone.s" not in name}
    write_manifest(folder, replace(manifest, files=files))
    with pytest.raises(FileNotFoundError, match=r"graphs only, without backbone\.safetensors"):
        open_networks(folder)


def test_folders_of_something_else(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="neither a bundle nor the folder of"):
            open_networks(folder)


def test_all_that_networks_read(training: Path, tmp_path: Path, body: Body) -> None:
    folder = tmp_path / "run"
    shutil.copytree(training, folder)
    config = replace(TINY, main=SPEC, auxiliary=IMAGE_SPEC)
    write_record(folder, training_record(config, body))
    save_weights(upright(IMAGE_SPEC, 2), folder / "auxiliary.safetensors")
    assert open_networks(folder).reads == {"keypoints", "box_info", "image"}


def test_without_a_pseudo_mesh_only_some_schedules_can_be_had(networks: Networks) -> None:
    alone = replace(networks, auxiliary=None, source="the training in runs/alone")
    paper, release, eft = (named_schedule(name) for name in ("paper", "release", "eft"))
    weights = LossWeights()
    check_schedules(networks, weights, [paper, release, eft])
    check_schedules(alone, weights, [eft])
    for schedule in (paper, release):
        message = f"'{schedule.name}' needs a pseudo mesh, and the training in runs/alone has no"
        with pytest.raises(ValueError, match=message):
            check_schedules(alone, weights, [eft, schedule])
    only_2d = LossWeights(joints_3d=0, vertices=0, rotations=0, betas=0)
    check_schedules(alone, only_2d, [paper])
