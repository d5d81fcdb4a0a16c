import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from dualhmr.files import atomic_path
from dualhmr.weights import load_weights, save_tensors, save_weights


def network(width: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_weights_come_back(tmp_path: Path) -> None:
    saved, loaded = network(), network(seed=1)
    saved[1].num_batches_tracked.fill_(70_001)
    save_weights(saved, tmp_path / "w.safetensors")
    assert not same(saved, loaded)
    load_weights(loaded, tmp_path / "w.safetensors")
    assert same(saved, loaded)


def test_weights_saved_in_half_precision_come_back_rounded(tmp_path: Path) -> None:
    saved, loaded = network(), network(seed=1)
    saved[1].num_batches_tracked.fill_(70_001)
    save_weights(saved, tmp_path / "w.safetensors", dtype=torch.float16)
    load_weights(loaded, tmp_path / "w.safetensors")
    state = loaded.state_dict()
    for name, tensor in saved.state_dict().items():
        assert state[name].dtype == tensor.dtype
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(state[name], expected)
    save_weights(saved, tmp_path / "full.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size < (
        tmp_path / "full.safetensors"
    ).stat().st_size


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
def test_the_umask_says_who_may_read_the_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "ordinary").touch()
        save_weights(network(), tmp_path / "w.safetensors")
        with atomic_path(tmp_path / "atomic.safetensors") as path:
            save_weights(network(), path)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    ordinary, *saved = (
        (tmp_path / name).stat().st_mode
        for name in ("ordinary", "w.safetensors", "atomic.safetensors")
    )
    assert saved == [ordinary, ordinary]


def test_saving_changes_nothing_in_the_network(tmp_path: Path) -> None:
    saved = network()
    save_weights(saved, tmp_path / "w.safetensors", dtype=torch.float16)
    assert same(saved, network())
    assert saved[0].weight.dtype == torch.float32
    assert saved[0].weight.requires_grad


@pytest.mark.parametrize(("value", "dtype"), [(1e5, torch.float16), (float("nan"), None)])
def test_weights_that_would_not_be_finite_are_refused(
    tmp_path: Path, value: float, dtype: torch.dtype | None
) -> None:
    saved = network()
    saved[1].running_var[2] = value
    with pytest.raises(ValueError, match=r"1\.running_var .* not finite in torch\.float"):
        save_weights(saved, tmp_path / "w.safetensors", dtype=dtype)
    assert not (tmp_path / "w.safetensors").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        load_weights(network(), tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"w\.safetensors: damaged or truncated"):
        load_weights(network(), path)


def test_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(network().state_dict(), path)
    with pytest.raises(ValueError, match=r"w\.safetensors: damaged or truncated"):
        load_weights(network(), path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(width=6), path)
    with pytest.raises(ValueError, match=r"(?s)w\.safetensors: .*do not fit.*0\.weight"):
        load_weights(network(), path)
    save_weights(nn.Linear(3, 5), path)
    with pytest.raises(ValueError, match=r"(?s)do not fit.*Missing.*0\.weight.*Unexpected.*bias"):
        load_weights(network(), path)


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: full (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    target = tmp_path / "w.safetensors"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(target) as path:
        save_tensors({"a": torch.zeros(3)}, path)
    assert caught.value.filename == str(target)


def test_numbers_that_are_not_finite_are_not_loaded(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    state = {"weight": torch.full((1, 2), float("nan")), "bias": torch.zeros(1)}
    save_tensors(state, tmp_path / "w.safetensors")
    with pytest.raises(
        ValueError, match=r"w\.safetensors: weight holds numbers that are not finite"
    ):
        load_weights(module, tmp_path / "w.safetensors")
    save_tensors(
        {"weight": torch.zeros(1, 2, dtype=torch.int64), "bias": torch.zeros(1)},
        tmp_path / "w.safetensors",
    )
    with pytest.raises(ValueError, match=r"do not fit the network: weight is torch\.int64"):
        load_weights(module, tmp_path / "w.safetensors")
