"""Networks that read the image, trained on rendered people."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_image_backbone import tiny_network
from helpers.tiny_training import TINY, flat, make_poses, small_body

from dualhmr_training import synthetic_training
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.people import PeopleSampler
from dualhmr_training.dual import DualNetworks
from dualhmr_training.run import open_accelerator
from dualhmr_training.synthetic_training import synthetic_objective, train_on_synthetic_people
from dualhmr_training.trainer import Trainer
from dualhmr_training.validation import PeopleValidation, held_out_images

IMAGE, MIXED, KEYPOINTS = tiny_network("tiny_image"), tiny_network("tiny_mixed"), TINY.auxiliary
CONFIG = replace(TINY, main=IMAGE, auxiliary=IMAGE, batch=4, steps=4)
ignore_forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def few_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_training, "VALIDATION_PEOPLE", 7)


def train(config: TrainingConfig, out: Path, *, workers: int = 0) -> DualNetworks:
    return train_on_synthetic_people(
        config,
        make_poses(),
        out,
        accelerator=open_accelerator("cpu"),
        body=small_body(),
        workers=workers,
    )


def history(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name != "time"} for row in rows]


@pytest.mark.parametrize(
    "networks",
    [
        {"main": IMAGE, "auxiliary": IMAGE},
        {"main": IMAGE, "auxiliary": KEYPOINTS},
        {"main": KEYPOINTS, "auxiliary": IMAGE},
        {"main": MIXED, "auxiliary": None, "inner": replace(TINY.inner, steps=0)},
    ],
)
def test_networks_learn_from_pictures(networks: dict[str, Any], tmp_path: Path) -> None:
    config = replace(CONFIG, **networks)
    untrained = train(replace(config, steps=0), tmp_path / "untrained")
    trained = train(config, tmp_path)
    assert not torch.equal(flat(trained), flat(untrained))
    last = history(tmp_path)[-1]
    assert {"main/mpjpe", "adapted/mpjpe"} <= last.keys()
    assert ("auxiliary/mpjpe" in last) == (config.auxiliary is not None)
    assert all(map(math.isfinite, last.values()))
    assert (tmp_path / "main.safetensors").is_file()


@ignore_forks
def test_resumed_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(CONFIG, tmp_path / "whole")
    train_step = Trainer.train_step

    def interrupted(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 3:
            raise KeyboardInterrupt
        return train_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, tmp_path / "cut")
    assert torch.equal(flat(train(CONFIG, tmp_path / "cut", workers=2)), flat(whole))
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_who_reads_keypoints_alone_gets_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object, **__: object) -> None:
        raise AssertionError("rendered for nobody")

    monkeypatch.setattr(synthetic_training, "rendered_batches", render)
    monkeypatch.setattr(synthetic_training, "held_out_images", render)
    train(replace(TINY, steps=1), tmp_path)
    with pytest.raises(AssertionError, match="rendered for nobody"):
        train(replace(CONFIG, steps=1), tmp_path / "images")


def test_held_out_people_look_the_same_every_time() -> None:
    people = PeopleSampler(small_body(), make_poses().rotvecs, CONFIG.population, seed=0).sample(70)
    first, second = (held_out_images(small_body(), people, CONFIG.appearance) for _ in range(2))
    assert first.shape == (70, 256, 192, 3)
    assert torch.equal(first, second)


def test_errors_do_not_depend_on_how_many_are_seen_at_once(tmp_path: Path) -> None:
    networks = train(replace(CONFIG, steps=0), tmp_path)
    body = small_body()
    objective = synthetic_objective(body, CONFIG.supervision)
    people = PeopleSampler(body, make_poses().rotvecs, CONFIG.population, seed=0).sample(11)
    images = held_out_images(body, people, CONFIG.appearance)
    whole, parts = (
        PeopleValidation(objective, people, images, at_once=count).errors(networks)
        for count in (11, 3)
    )
    assert parts == pytest.approx(whole, rel=1e-5)
    blind = PeopleValidation(objective, people, torch.zeros_like(images))
    assert blind.errors(networks)["main/mpjpe"] != pytest.approx(whole["main/mpjpe"], rel=1e-5)
