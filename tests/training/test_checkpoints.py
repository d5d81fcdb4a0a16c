import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from dualhmr_training import checkpoints
from dualhmr_training.checkpoints import (
    Checkpoint,
    RunningMeans,
    latest_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
    tensors_of,
)


def a_checkpoint(step: int = 5) -> Checkpoint:
    return Checkpoint(
        step,
        weights={"main.weight": torch.randn(3, 2), "main.count": torch.tensor(step)},
        optimiser={"0.exp_avg": torch.randn(3, 2), "0.step": torch.tensor(5.0)},
        average={},
        config={"steps": 10, "inner": {"losses": None, "rate": 0.1 + 0.2}},
        running_means=RunningMeans(3, {"main/betas": 0.1 + 0.2}),
    )


def same(checkpoint: Checkpoint | None, other: Checkpoint) -> bool:
    assert checkpoint is not None
    for name in ("weights", "optimiser", "average"):
        one, two = getattr(checkpoint, name), getattr(other, name)
        if one.keys() != two.keys() or not all(torch.equal(one[key], two[key]) for key in one):
            return False
    plain = (checkpoint.step, checkpoint.config, checkpoint.running_means)
    return plain == (other.step, other.config, other.running_means)


def test_there_and_back(tmp_path: Path) -> None:
    checkpoint = a_checkpoint()
    path = save_checkpoint(tmp_path / "new" / "folder", checkpoint)
    assert path == tmp_path / "new" / "folder" / "step-00000005"
    assert same(latest_checkpoint(tmp_path / "new" / "folder"), checkpoint)
    assert {file.name for file in path.iterdir()} == {
        "weights.safetensors", "optimiser.safetensors", "average.safetensors", "state.json"
    }  # fmt: skip


def test_none_is_no_error(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None


def test_only_the_newest_is_kept_and_leftovers_go(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, a_checkpoint(5))
    (tmp_path / ".staging-0123").mkdir()
    (tmp_path / ".staging-0123" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / ".DS_Store").write_text("of somebody else")
    newer = a_checkpoint(100_000)
    save_checkpoint(tmp_path, newer)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00100000", ".DS_Store"}
    assert same(latest_checkpoint(tmp_path), newer)


def test_the_newest_counts_where_an_older_one_could_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = a_checkpoint(999), a_checkpoint(1000)
    save_checkpoint(tmp_path, older)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_arguments, **_options: None)
        save_checkpoint(tmp_path, newer)
    assert (tmp_path / "step-00000999").is_dir()
    assert same(latest_checkpoint(tmp_path), newer)


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    first = a_checkpoint()
    save_checkpoint(tmp_path, first)
    save_checkpoint(tmp_path, a_checkpoint())
    assert same(latest_checkpoint(tmp_path), first)


@pytest.mark.parametrize("fails_at", range(4))
def test_failing_midway_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    first = a_checkpoint(5)
    save_checkpoint(tmp_path, first)
    calls: list[object] = []
    write = safetensors.torch.save_file

    def full_disk(*arguments: object, **_: object) -> None:
        calls.append(arguments)
        if len(calls) > fails_at:
            raise OSError("no space left on device")
        write(*arguments)

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    if fails_at == 3:
        monkeypatch.setattr(checkpoints.json, "dumps", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, a_checkpoint(6))
    assert same(latest_checkpoint(tmp_path), first)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("weights.safetensors", b"half"),
        ("weights.safetensors", None),
        ("optimiser.safetensors", b""),
        ("average.safetensors", None),
        ("state.json", b'{"step": 5, "conf'),
        ("state.json", b"[]"),
        ("state.json", b'{"step": 5}'),
        ("state.json", b'{"step": 5, "config": {}, "watched": {"sum": 3}}'),
        ("state.json", b"\xff\xfe"),
        ("state.json", None),
    ],
)
def test_damage_is_told(tmp_path: Path, file: str, content: bytes | None) -> None:
    path = save_checkpoint(tmp_path, a_checkpoint()) / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"step-00000005: damaged: .*; put back a copy"):
        latest_checkpoint(tmp_path)


def test_tensors_are_copies_that_can_be_stored(tmp_path: Path) -> None:
    module = nn.Conv2d(4, 3, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tensors = tensors_of(module)
    before = tensors["weight"].clone()
    with torch.no_grad():
        module.weight.add_(1)
    assert torch.equal(tensors["weight"], before)
    save_checkpoint(tmp_path, replace(a_checkpoint(), weights=tensors))


def test_adam_goes_on_as_if_nothing_had_been() -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 2)
    inputs = torch.randn(6, 5, 3)

    def train(module: nn.Linear, optimiser: torch.optim.Adam, batches: torch.Tensor) -> None:
        for batch in batches:
            optimiser.zero_grad()
            module(batch).square().sum().backward()
            optimiser.step()

    optimiser = torch.optim.Adam(first.parameters(), lr=0.1)
    train(first, optimiser, inputs[:3])
    second = nn.Linear(3, 2)
    second.load_state_dict(tensors_of(first))
    resumed = torch.optim.Adam(second.parameters(), lr=0.1)
    restore_optimiser(resumed, optimiser_tensors(optimiser))
    train(first, optimiser, inputs[3:])
    train(second, resumed, inputs[3:])
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
