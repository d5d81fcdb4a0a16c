import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_training import ORDINARY, flat, networks_and_batches
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dualhmr.weights import load_weights
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.contact_sheet import Picture
from dualhmr_training.dual import DualNetworks
from dualhmr_training.run import Board, open_accelerator, run_training
from dualhmr_training.trainer import Trainer

RECORD = {"commit": "abc", "body": "stick_figure", "config": {}}
PICTURE = np.random.default_rng(0).integers(0, 255, (8, 6, 3), np.uint8)


class Recorded:
    """A validation that notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[DualNetworks] = []

    def errors(self, networks: DualNetworks) -> dict[str, float]:
        assert not any(module.training for module in networks.modules())
        self.seen.append(networks)
        return {"main/mpjpe": 100.0 / len(self.seen)}

    def picture(self, networks: DualNetworks) -> Picture:
        assert networks is self.seen[-1]
        return PICTURE


def trainer_of(config: TrainingConfig) -> Trainer:
    networks, batches = networks_and_batches(config)
    return Trainer(config, networks, batches, accelerator=open_accelerator("cpu"))


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def shown(out: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(out / "tensorboard"))
    accumulator.Reload()
    return accumulator


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def test_what_is_written(out: Path) -> None:
    trainer, validation = trainer_of(ORDINARY), Recorded()
    trained = run_training(trainer, out, record=RECORD, validation=validation)
    assert trained is trainer.networks
    assert not any(module.training for module in trained.modules())
    assert {path.name for path in out.iterdir()} == {
        "training.json", "history.jsonl", "tensorboard", "checkpoints",
        "main.safetensors", "auxiliary.safetensors",
    }  # fmt: skip
    assert json.loads((out / "training.json").read_text()) == RECORD
    read, _ = networks_and_batches(replace(ORDINARY, seed=99))
    for name, network in read.named_children():
        load_weights(network, out / f"{name}.safetensors")
    assert torch.equal(flat(read), flat(trained))


def test_reports_are_means_since_the_last_one_and_errors(out: Path) -> None:
    run_training(trainer_of(ORDINARY), out, record=RECORD, validation=Recorded())
    stepped = trainer_of(ORDINARY)
    told = [stepped.train_step() for _ in range(ORDINARY.steps)]
    assert [row["step"] for row in rows(out)] == [2, 4, 6]
    for number, row in enumerate(rows(out)):
        pair = told[2 * number : 2 * number + 2]
        for name in told[0]:
            assert row[name] == pytest.approx((pair[0][name] + pair[1][name]) / 2)
        assert row["main/mpjpe"] == 100.0 / (number + 1)


def test_tensorboard_has_every_number_and_the_pictures(out: Path) -> None:
    run_training(trainer_of(ORDINARY), out, record=RECORD, validation=Recorded())
    board = shown(out)
    assert set(board.Tags()["scalars"]) == rows(out)[0].keys() - {"step", "time"}
    for name in board.Tags()["scalars"]:
        events = board.Scalars(name)
        assert [event.step for event in events] == [2, 4, 6]
        expected = [row[name] for row in rows(out)]
        assert [event.value for event in events] == pytest.approx(expected)
    assert [event.step for event in board.Images("people")] == [2, 4, 6]
    assert (board.Images("people")[0].height, board.Images("people")[0].width) == (8, 6)


def test_the_board_hides_what_is_beyond_the_checkpoint(tmp_path: Path) -> None:
    board = Board(tmp_path / "tensorboard", step=0)
    for step in (2, 4, 6):
        board.add(step, {"a": 1.0}, None)
    board.close()
    resumed = Board(tmp_path / "tensorboard", step=3)
    resumed.add(4, {"a": 2.0}, PICTURE)
    resumed.close()
    events = shown(tmp_path).Scalars("a")
    assert [(event.step, event.value) for event in events] == [(2, 1.0), (4, 2.0)]


def test_the_moving_average_is_what_is_validated_and_written(out: Path) -> None:
    config = replace(ORDINARY, ema_decay=0.5)
    trainer, validation = trainer_of(config), Recorded()
    trained = run_training(trainer, out, record=RECORD, validation=validation)
    assert trained is trainer.trained is not trainer.networks
    assert all(networks is trained for networks in validation.seen)
    load_weights(trainer.networks.main, out / "main.safetensors")
    assert torch.equal(flat(trainer.networks.main), flat(trained.main))


def test_without_validation_and_auxiliary(out: Path) -> None:
    run_training(trainer_of(replace(ORDINARY, auxiliary=None)), out, record=RECORD)
    assert not (out / "auxiliary.safetensors").exists()
    assert all("mpjpe" not in name for name in rows(out)[0])
    assert shown(out).Tags()["images"] == []


def test_the_last_step_is_reported_and_kept_whatever_its_number(out: Path) -> None:
    config = replace(ORDINARY, steps=5, validate_every=4, checkpoint_every=100)
    run_training(trainer_of(config), out, record=RECORD)
    assert [row["step"] for row in rows(out)] == [4, 5]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000005"]


def test_a_training_that_has_ended_only_writes_its_weights_again(out: Path) -> None:
    first = run_training(trainer_of(ORDINARY), out, record=RECORD)
    before = (out / "history.jsonl").read_text()
    (out / "main.safetensors").unlink()
    again = run_training(trainer_of(ORDINARY), out, record=RECORD | {"commit": "later"})
    assert torch.equal(flat(again), flat(first))
    assert (out / "history.jsonl").read_text() == before
    assert (out / "main.safetensors").exists()
    assert json.loads((out / "training.json").read_text())["commit"] == "abc"


@pytest.mark.parametrize(
    ("record", "change", "message"),
    [
        (RECORD, {"steps": 7}, "another configuration: steps was 6 and is 7; go on with that one"),
        (RECORD | {"body": "smpl"}, {}, r"began with other data \(see body in training.json\)"),
        (RECORD | {"poses": 3}, {}, r"\(see poses in training.json\); go on with the same"),
    ],
)
def test_another_training_in_the_folder(
    out: Path, record: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    run_training(trainer_of(ORDINARY), out, record=RECORD)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message):
        run_training(trainer_of(replace(ORDINARY, **change)), out, record=record)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_training_that_never_got_to_a_checkpoint_leaves_no_trace(out: Path) -> None:
    class FullDiskError(Exception):
        pass

    class Failing(Recorded):
        def picture(self, _networks: DualNetworks) -> Picture:
            raise FullDiskError

    with pytest.raises(FullDiskError):
        run_training(trainer_of(ORDINARY), out, record={"old": 1}, validation=Failing())
    (out / "history.jsonl").write_text('{"step": 2, "time": 0}\n')
    run_training(trainer_of(ORDINARY), out, record=RECORD)
    assert json.loads((out / "training.json").read_text()) == RECORD
    assert [row["step"] for row in rows(out)] == [2, 4, 6]
    assert rows(out)[0]["time"] > 0
