"""3DPW's betas are those of the male and the female body."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from helpers.spin_files import everything, write, write_images
from helpers.stick_figure import stick_figure
from helpers.tiny_image_backbone import tiny_network
from torch.utils.data import default_collate

from dualhmr.body.model import Body, load_body
from dualhmr.keypoints import SPIN_49
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from dualhmr_training.configuration import InnerLoop, TrainingConfig
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.data.mixture import batch_of_samples
from dualhmr_training.data.person_dataset import Sample, open_dataset
from dualhmr_training.dataset_training import train_on_datasets
from dualhmr_training.run import open_accelerator

CONFIG = TrainingConfig(
    main=tiny_network("tiny_image"),
    auxiliary=tiny_network("tiny_image"),
    inner=InnerLoop(learning_rate=1e-5),
    weights=LossWeights(vertices=0.5, betas=1.0),
    data="datasets",
    with_3dpw=True,
    batch=8,
    steps=2,
)


def body_of(size: float) -> Body:
    body = stick_figure(dtype=torch.float32)
    return dataclasses.replace(body, v_template=size * body.v_template)


NEUTRAL, MALE, FEMALE = (
    own_objective(body_of(size), SPIN_49, camera=CONFIG.camera, weights=CONFIG.supervision)
    for size in (1.0, 1.2, 0.8)
)


def folder_of(folder: Path, name: str, *without: str, seed: int = 0) -> Path:
    arrays = everything(count=3, seed=seed)
    for missing in without:
        del arrays[missing]
    write(folder / name / DATASETS[name].annotation_file("train"), arrays)
    write_images(folder / name, arrays)
    return folder / name


def samples_of(folder: Path, name: str, *without: str) -> Sample:
    people = open_dataset(name, folder_of(folder, name, *without))
    samples: Sample = default_collate([people[i] for i in range(3)])
    return samples


def test_only_3dpw_tells_whose_betas_they_are(tmp_path: Path) -> None:
    assert samples_of(tmp_path, "threedpw").gender.tolist() == [1, 2, 1]
    assert samples_of(tmp_path / "unknown", "threedpw", "gender").gender.tolist() == [0, 0, 0]
    assert samples_of(tmp_path, "human36m").gender.tolist() == [0, 0, 0]


def test_joints_and_vertices_are_of_the_gender_s_body_and_betas_unknown(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, "threedpw", "S")
    samples.gender[2] = 0
    target = batch_of_samples(samples, NEUTRAL, (MALE, FEMALE)).truth.target
    assert target is not None
    assert target.vertices is not None
    rotations = rotvec_to_rotmat(samples.rotvecs)
    for person, objective in enumerate((MALE, FEMALE, NEUTRAL)):
        own = objective.target(rotations, samples.betas)
        assert own.vertices is not None
        torch.testing.assert_close(target.vertices[person], own.vertices[person])
        if objective is not NEUTRAL:
            torch.testing.assert_close(target.joints[person], own.joints[person])
    assert target.joints_confidence is not None
    assert target.joints_confidence.bool().all(1).tolist() == [True, True, False]
    assert target.betas_annotated is not None
    assert target.betas_annotated.tolist() == [False, False, True]


def test_who_has_no_mesh_gets_none(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, "threedpw")._replace(has_mesh=torch.zeros(3, dtype=torch.bool))
    target = batch_of_samples(samples, NEUTRAL, (MALE, FEMALE)).truth.target
    assert target is not None
    assert torch.equal(target.joints, samples.joints_3d)
    assert torch.equal(target.joints_confidence, samples.joints_3d_confidence)


def test_unknown_betas_cost_nothing(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, "threedpw")
    pose = rotmat_to_rot6d(rotvec_to_rotmat(samples.rotvecs)).flatten(1)
    output = HeadOutput(pose, samples.betas + 1, torch.ones(3, 3))
    for gendered, expected in (((), 1.0), ((MALE, FEMALE), 0.0)):
        truth = batch_of_samples(samples, NEUTRAL, gendered).truth
        losses = NEUTRAL.losses(output, truth, ("betas", "rotations"))
        torch.testing.assert_close(losses["betas"], torch.full((3,), expected))
        assert losses["rotations"].max() < 1e-6


def test_training_with_gendered_bodies(tmp_path: Path) -> None:
    for seed, name in enumerate(("human36m", "coco", "mpii", "mpi_inf_3dhp", "threedpw")):
        folder_of(tmp_path, name, seed=seed)

    def train(out: str, *bodies: Body) -> dict[str, float]:
        train_on_datasets(
            CONFIG,
            tmp_path,
            tmp_path / out,
            accelerator=open_accelerator("cpu"),
            body=body_of(1.0),
            gendered_bodies=bodies,  # type: ignore[arg-type]
            workers=0,
        )
        row: dict[str, float] = json.loads((tmp_path / out / "history.jsonl").read_text())
        return row

    usual, gendered = train("usual"), train("gendered", body_of(1.2), body_of(0.8))
    assert gendered["main/vertices"] != usual["main/vertices"]
    assert gendered["main/keypoints_2d"] == pytest.approx(usual["main/keypoints_2d"], rel=1e-3)
    records = [json.loads((tmp_path / out / "training.json").read_text())["gendered_bodies"]
               for out in ("usual", "gendered")]  # fmt: skip
    assert records[0] is None
    assert len(set(records[1])) == 2
    with pytest.raises(ValueError, match=r"has 6872 vertices and 'stick_figure' 40; gendered"):
        train("misfit", load_body(), load_body())
