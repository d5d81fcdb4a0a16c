"""Training on data sets in the users' formats, with networks small enough for a test."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from helpers.spin_files import everything, write, write_images
from helpers.tiny_image_backbone import tiny_network

from dualhmr import load_body
from dualhmr.keypoints import SPIN_49
from dualhmr.objective.objective import own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr_training.batches import StreamedBatches
from dualhmr_training.configuration import InnerLoop, TrainingConfig
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.data.mixture import Mixture, mixture_batches
from dualhmr_training.data.person_dataset import Sample
from dualhmr_training.dataset_training import open_mixture, train_on_datasets
from dualhmr_training.dual import DualNetworks
from dualhmr_training.presets import PRESETS
from dualhmr_training.run import open_accelerator
from dualhmr_training.training_folder import Networks, open_networks

NAMES = ("human36m", "coco", "mpii", "mpi_inf_3dhp")
SPEC = tiny_network("tiny_image")
CONFIG = dataclasses.replace(
    PRESETS["paper-cliff-resnet"](),
    main=SPEC,
    auxiliary=SPEC,
    weights=LossWeights(vertices=0.0),
    batch=4,
    epochs=None,
    steps=3,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four data sets of the mix without 3DPW; COCO without meshes, MPII without 3D at all."""
    folder = tmp_path_factory.mktemp("data")
    without = {"coco": ("has_smpl",), "mpii": ("pose", "shape", "has_smpl", "S")}
    for seed, name in enumerate(NAMES):
        arrays = everything(count=3, seed=seed)
        for missing in without.get(name, ()):
            del arrays[missing]
        write(folder / name / DATASETS[name].annotation_file("train"), arrays)
        write_images(folder / name, arrays)
    return folder


@pytest.fixture(scope="module")
def mixture(root: Path) -> Mixture:
    return open_mixture(root, with_3dpw=False, seed=0)


def batches(mixture: Mixture, workers: int = 0) -> StreamedBatches[Sample]:
    objective = own_objective(
        load_body(), SPIN_49, camera=CONFIG.camera, weights=CONFIG.supervision
    )
    return mixture_batches(mixture, objective, draws=80, seed=3, workers=workers)


def test_what_a_step_draws_depends_on_the_step_alone(mixture: Mixture) -> None:
    in_order = batches(mixture)
    drawn = [in_order.batch(step, 8).inputs["image"] for step in range(3)]
    resumed = batches(mixture, workers=1).batch(2, 8).inputs["image"]
    assert torch.equal(resumed, drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_processes_share_a_batch(mixture: Mixture) -> None:
    whole = batches(mixture).batch(1, 8)
    for process in range(2):
        share = batches(mixture).batch(1, 8, process=process, processes=2)
        assert torch.equal(share.inputs["image"], whole.inputs["image"][process::2])
        assert torch.equal(share.truth.keypoints, whole.truth.keypoints[process::2])


@pytest.mark.parametrize(
    "inner", [InnerLoop(learning_rate=1e-5), InnerLoop(steps=2), InnerLoop(steps=0)]
)
def test_trains_on_what_is_annotated(root: Path, tmp_path: Path, inner: InnerLoop) -> None:
    config: TrainingConfig = dataclasses.replace(CONFIG, inner=inner)
    trained = train_on_datasets(
        config,
        root,
        tmp_path,
        accelerator=open_accelerator("cpu"),
        body=load_body(),
        workers=0,
    )
    assert all(torch.isfinite(tensor).all() for tensor in trained.state_dict().values())
    assert (tmp_path / "main.safetensors").is_file()


def test_fine_tuning_begins_with_the_weights_it_is_given(root: Path, tmp_path: Path) -> None:
    def train(config: TrainingConfig, out: str, initial: Networks | None) -> DualNetworks:
        return train_on_datasets(
            config,
            root,
            tmp_path / out,
            accelerator=open_accelerator("cpu"),
            body=load_body(),
            initial=initial,
            workers=0,
        )

    trained = train(CONFIG, "first", None).state_dict()
    initial = open_networks(tmp_path / "first")
    begun = train(dataclasses.replace(CONFIG, steps=0), "second", initial).state_dict()
    torch.testing.assert_close(dict(begun), dict(trained), rtol=0, atol=0)
    record = json.loads((tmp_path / "second" / "training.json").read_text())
    assert record["initial_sha256"] == initial.sha256


def test_missing_data_set_says_which(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Human3\.6M"):
        train_on_datasets(
            CONFIG,
            tmp_path,
            tmp_path,
            accelerator=open_accelerator("cpu"),
            body=load_body(),
        )
