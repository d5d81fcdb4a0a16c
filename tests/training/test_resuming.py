"""A training that is killed with `kill -9`, at whatever moment, and run again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch
from helpers.child_processes import KILLED, kill_this_process, run
from helpers.tiny_training import TINY, train_command

from dualhmr_training import checkpoints
from dualhmr_training.run import History
from dualhmr_training.trainer import Trainer

# Reports and checkpoints at different steps, so that what a report sums up is cut in two.
CONFIG = replace(TINY, steps=9, validate_every=2, checkpoint_every=3, dropout=0.2, ema_decay=0.8)

Outcome = tuple[dict[str, torch.Tensor], list[dict[str, float]]]


def nth(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but at that call the process is killed instead."""
    calls: list[object] = []

    def killing(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            kill_this_process()
        return function(*arguments, **options)

    return killing


MOMENTS: dict[str, Callable[[], Any]] = {
    "before any checkpoint": lambda: mock.patch.object(
        Trainer, "train_step", nth(3, Trainer.train_step)
    ),
    "in a step, with reports beyond the checkpoint": lambda: mock.patch.object(
        Trainer, "train_step", nth(6, Trainer.train_step)
    ),
    "while the second checkpoint is written": lambda: mock.patch.object(
        safetensors.torch, "save_file", nth(3 + 2, safetensors.torch.save_file)
    ),
    "before the older checkpoint is removed": lambda: mock.patch.object(
        checkpoints.shutil, "rmtree", nth(1, shutil.rmtree)
    ),
    "after the last checkpoint, before the weights": lambda: mock.patch.object(
        safetensors.torch, "save_file", nth(3 * 3 + 2, safetensors.torch.save_file)
    ),
    "while a report is written": lambda: mock.patch.object(History, "append", _half_a_row),
}


def _half_a_row(self: History, step: int, row: dict[str, float]) -> None:
    line = json.dumps({"step": step, "time": 0.0, **row}) + "\n"
    with self._path.open("a", encoding="utf-8") as file:
        file.write(line if step < 8 else line[:30])
    if step == 8:
        kill_this_process()


def train(folder: Path) -> None:
    raise SystemExit(train_command(CONFIG, folder))


def train_until(moment: str, folder: Path) -> None:
    with MOMENTS[moment]():
        train(folder)


def outcome(folder: Path) -> Outcome:
    """Final weights by network and name, and the history, times apart."""
    out = folder / "out"
    weights = {
        f"{file}/{name}": tensor
        for file in ("main", "auxiliary", "checkpoints/step-00000009/weights")
        for name, tensor in safetensors.torch.load_file(out / f"{file}.safetensors").items()
    }
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return weights, [{name: row[name] for name in row if name != "time"} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run(train, folder) == 0
    weights, rows = outcome(folder)
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 9]
    return weights, rows


@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupted_equals_uninterrupted(
    moment: str,
    tmp_path: Path,
    uninterrupted: Outcome,
) -> None:
    expected_weights, expected_rows = uninterrupted
    assert run(train_until, moment, tmp_path) == KILLED
    assert not (tmp_path / "out" / "auxiliary.safetensors").exists()
    assert run(train, tmp_path) == 0
    weights, rows = outcome(tmp_path)
    assert rows == expected_rows
    assert weights.keys() == expected_weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, expected_weights[name]), name
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "training.json", "history.jsonl", "tensorboard", "checkpoints",
        "main.safetensors", "auxiliary.safetensors",
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-00000009"]


def test_killed_again_and_again(tmp_path: Path, uninterrupted: Outcome) -> None:
    # Every run gets as far as its next checkpoint and a step beyond.
    for _ in range(2):
        assert run(train_four_steps, tmp_path) == KILLED
    assert run(train, tmp_path) == 0
    weights, rows = outcome(tmp_path)
    assert rows == uninterrupted[1]
    assert all(torch.equal(tensor, uninterrupted[0][name]) for name, tensor in weights.items())


def train_four_steps(folder: Path) -> None:
    with mock.patch.object(Trainer, "train_step", nth(5, Trainer.train_step)):
        train(folder)
