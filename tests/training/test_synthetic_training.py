from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_training import ORDINARY, TINY, make_poses, small_body
from torch import Tensor

from dualhmr.keypoints import BODY_23
from dualhmr_training import synthetic_training
from dualhmr_training.data.synthetic.batches import SyntheticBatches
from dualhmr_training.presets import demo
from dualhmr_training.run import Validation, open_accelerator
from dualhmr_training.synthetic_training import synthetic_objective, train_on_synthetic_people
from dualhmr_training.trainer import Trainer
from dualhmr_training.validation import PeopleValidation, held_out_clips


def test_training_is_on_keypoints_and_skeleton() -> None:
    objective = synthetic_objective(small_body(), demo().weights)
    assert objective.keypoint_count == len(BODY_23)
    assert objective.available.all()
    target = objective.target(torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10))
    assert target.joints.shape == (1, 24 + 23, 3)
    assert target.vertices is None


def test_training_keeps_from_the_held_out_clips_and_validates_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Tensor] = []
    validations: list[Validation] = []

    class Recorded(SyntheticBatches):
        def __init__(self, body: Any, pool: Tensor, *arguments: Any, **options: Any) -> None:
            pools.append(pool)
            super().__init__(body, pool, *arguments, **options)

    def run(trainer: Trainer, out: Path, *, record: object, validation: Validation) -> None:
        assert (trainer.config, out, bool(record)) == (TINY, tmp_path, True)
        validations.append(validation)

    monkeypatch.setattr(synthetic_training, "SyntheticBatches", Recorded)
    monkeypatch.setattr(synthetic_training, "run_training", run)
    monkeypatch.setattr(synthetic_training, "VALIDATION_PEOPLE", 20)
    poses = make_poses()
    train_on_synthetic_people(
        TINY, poses, tmp_path, accelerator=open_accelerator("cpu"), body=small_body()
    )
    trained_on = {tuple(pose) for pose in pools[0].flatten(1).tolist()}
    kept = {tuple(pose) for pose in poses.of_clips(held_out_clips(poses)).flatten(1).tolist()}
    assert len(trained_on) + len(kept) == len(poses.clips)
    assert not trained_on & kept
    (validation,) = validations
    assert isinstance(validation, PeopleValidation)
    assert len(validation._people.betas) == 20


def test_the_camera_is_that_of_the_configuration() -> None:
    objectives = [
        synthetic_objective(small_body(), TINY.weights, camera=camera)
        for camera in ("cliff", "hmr")
    ]
    assert objectives[0].camera is not objectives[1].camera
    with pytest.raises(ValueError, match="unknown camera 'pinhole'"):
        synthetic_objective(small_body(), TINY.weights, camera="pinhole")


def test_training_from_poses_to_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_training, "VALIDATION_PEOPLE", 8)
    for network in ("main", "auxiliary"):
        assert not (tmp_path / f"{network}.safetensors").exists()
    trained = train_on_synthetic_people(
        replace(ORDINARY, camera="hmr"),
        make_poses(),
        tmp_path,
        accelerator=open_accelerator("cpu"),
        body=small_body(),
    )
    assert all(tensor.isfinite().all() for tensor in trained.state_dict().values())
    for network in ("main", "auxiliary"):
        assert (tmp_path / f"{network}.safetensors").is_file()
