"""Trainings that begin from networks that exist already, whole and interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_bundle import SPEC, write_small_bundle
from helpers.small_training import CONFIG, ROLES, write_training
from helpers.tiny_training import flat, make_poses, small_body, train_command
from safetensors.torch import load_file

from dualhmr_training import synthetic_training
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.run import open_accelerator
from dualhmr_training.synthetic_training import train_on_synthetic_people
from dualhmr_training.trainer import Trainer
from dualhmr_training.training_folder import Networks, open_networks


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("initial") / "bundle")


@pytest.fixture(autouse=True)
def few_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_training, "VALIDATION_PEOPLE", 8)


def train(config: TrainingConfig, out: Path, initial: Networks | None) -> DualNetworks:
    return train_on_synthetic_people(
        config,
        make_poses(),
        out,
        accelerator=open_accelerator("cpu"),
        body=small_body(),
        initial=initial,
    )


def test_what_is_read_does_not_change_with_training(bundle: Path, tmp_path: Path) -> None:
    initial = open_networks(bundle)
    before = initial.sha256
    ended = train(CONFIG, tmp_path / "out", initial)
    assert not torch.equal(ended.main.head.fc1.weight, initial.main.head.fc1.weight)
    assert initial.sha256 == before


def test_zero_steps_write_what_was_read(tmp_path: Path) -> None:
    folder, out = write_training(tmp_path / "run"), tmp_path / "out"
    train(replace(CONFIG, steps=0, ema_decay=0.9), out, open_networks(folder))
    for role in ROLES:
        written, given = (load_file(each / f"{role}.safetensors") for each in (out, folder))
        torch.testing.assert_close(written, given, rtol=0, atol=0)


def test_other_networks_are_refused_and_nothing_is_written(bundle: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, main=replace(SPEC, hidden=12))
    with pytest.raises(ValueError, match=r"main\.hidden was 8 and is 12"):
        train(config, tmp_path / "out", open_networks(bundle))
    assert not (tmp_path / "out").exists()


def test_resuming_needs_the_same_weights(bundle: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", open_networks(write_training(tmp_path / "other", first_seed=2))
    ended = train(CONFIG, out, open_networks(bundle))
    (out / "main.safetensors").unlink()
    for initial in (other, None):
        with pytest.raises(ValueError, match=r"other data \(see initial_sha256 in training\.json"):
            train(CONFIG, out, initial)
    assert not (out / "main.safetensors").exists()
    assert torch.equal(flat(train(CONFIG, out, open_networks(bundle))), flat(ended))


def test_a_resumed_training_goes_on_from_its_checkpoint(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    def noted(trainer: Trainer) -> dict[str, float]:
        steps.append(trainer.step)
        if len(steps) == 4:
            raise PowerCutError
        return train_step(trainer)

    whole = train(CONFIG, tmp_path / "whole", open_networks(bundle))
    steps: list[int] = []
    train_step = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", noted)
    with pytest.raises(PowerCutError):
        train(CONFIG, tmp_path / "out", open_networks(bundle))
    resumed = train(CONFIG, tmp_path / "out", open_networks(bundle))
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]
    assert torch.equal(flat(resumed), flat(whole))


def test_a_training_from_before_there_were_initial_weights(bundle: Path, tmp_path: Path) -> None:
    ended = train(CONFIG, tmp_path, None)
    path = tmp_path / "training.json"
    record = json.loads(path.read_text())
    assert record.pop("initial_sha256") is None
    path.write_text(json.dumps(record))
    assert torch.equal(flat(train(CONFIG, tmp_path, None)), flat(ended))
    with pytest.raises(ValueError, match="initial_sha256"):
        train(CONFIG, tmp_path, open_networks(bundle))


def test_the_command(bundle: Path, tmp_path: Path) -> None:
    """Fine-tuning in a chain: from a bundle, and on from what came of it."""
    out, config = tmp_path / "out", replace(CONFIG, steps=2)
    assert train_command(config, tmp_path, initial=bundle) == 0
    record = json.loads((out / "training.json").read_text())
    assert record["initial_sha256"] == open_networks(bundle).sha256
    assert train_command(config, tmp_path, initial=bundle) == 0
    out.rename(tmp_path / "first")
    assert train_command(replace(config, steps=0), tmp_path, initial=tmp_path / "first") == 0
    for role in ROLES:
        name = f"{role}.safetensors"
        assert (out / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_mistakes_on_the_command_line_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished = write_training(tmp_path / "run")
    mean_params = tmp_path / "mean.npz"
    np.savez(mean_params, pose=np.ones(144), shape=np.ones(10), cam=np.ones(3))

    def said(**options: object) -> str:
        assert train_command(CONFIG, tmp_path, **options) == 1
        assert not (tmp_path / "out").exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    both = said(initial=unfinished, **{"mean-params": mean_params})
    assert "where heads begin; leave out --mean-params" in both
    (unfinished / "auxiliary.safetensors").unlink()
    assert "is not finished: there is no auxiliary.safetensors" in said(initial=unfinished)
    assert "neither a bundle nor the folder of a training" in said(initial=tmp_path / "no")
