import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from dualhmr_export.checkpoints.torch_files import read_checkpoint


class Call:
    """Pickled, it is a program that calls `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def plain() -> dict[str, Any]:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}
    return {"model": state, "epoch": 3, "lr": 1e-3, "names": ["a", None], "done": True}


@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_and_containers_are_read(tmp_path: Path, new_format: bool) -> None:
    path = tmp_path / "c.pt"
    torch.save(plain(), path, _use_new_zipfile_serialization=new_format)
    content = read_checkpoint(path)
    torch.testing.assert_close(content.pop("model"), plain()["model"], atol=0, rtol=0)
    assert content == {name: value for name, value in plain().items() if name != "model"}


@pytest.mark.parametrize("new_format", [True, False])
def test_a_hostile_file_is_refused_and_not_run(tmp_path: Path, new_format: bool) -> None:
    path, marker = tmp_path / "c.pt", tmp_path / "marker"
    hostile = Call(os.system, f"touch {marker}")
    torch.save(plain() | {"x": hostile}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(
        ValueError, match=rf"would run {os.name}\.system, .*nothing in it"
    ) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "save only the state dicts: torch.save(" in str(caught.value)
    assert caught.value.__suppress_context__
    assert not marker.exists()
    # The file does what it says, in hands that let it.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_bare_pickles_are_not_run(tmp_path: Path, protocol: int) -> None:
    path, marker = tmp_path / "c.pt", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {marker}"), protocol=protocol))
    with pytest.raises(ValueError, match="nothing in it was run"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Call(eval, "1"), "eval"),
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_what_a_file_wanted_is_named(tmp_path: Path, value: object, named: str) -> None:
    torch.save({"model": value}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=f"would run {named}, so it was refused"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("new_format", [True, False])
def test_numbers_of_numpy_beside_the_weights_are_data(tmp_path: Path, new_format: bool) -> None:
    beside = {
        "epoch": np.int64(3),
        "best": np.float64(52.5),
        "losses": np.arange(6, dtype=np.float32).reshape(2, 3),
        "nested": {"seen": [np.float32(1.5), (np.int32(2), "a")]},
    }
    path = tmp_path / "c.pt"
    content = plain() | beside | {"names": np.array(["a", "b"])}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    found = read_checkpoint(path)
    assert torch.equal(found["model"]["weight"], plain()["model"]["weight"])
    assert (found["epoch"], found["best"], found["nested"]) == (3, 52.5, beside["nested"])
    assert isinstance(found["epoch"], np.int64)
    np.testing.assert_array_equal(found["losses"], beside["losses"])
    assert found["losses"].dtype == np.float32


@pytest.mark.parametrize("new_format", [True, False])
def test_arrays_of_numpy_that_hide_a_call_are_refused(tmp_path: Path, new_format: bool) -> None:
    marker = tmp_path / "marker"
    hidden = np.array([Call(os.system, f"touch {marker}")], dtype=object)
    content = plain() | {"losses": hidden}
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=rf"would run {os.name}\.system"):
        read_checkpoint(tmp_path / "c.pt")
    assert not marker.exists()


def test_containers_that_hold_themselves(tmp_path: Path) -> None:
    content = plain()
    content["self"] = content
    content["list"] = [content, (content, np.float64(1.0))]
    torch.save(content, tmp_path / "c.pt")
    found = read_checkpoint(tmp_path / "c.pt")
    assert found["self"] is found
    assert found["list"][1][1] == 1.0


@pytest.mark.parametrize("archive", [True, False])
def test_tuples_that_hold_each_other_as_a_key(tmp_path: Path, archive: bool) -> None:
    nested = b"K\x01" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    content = b"\x80\x02}" + nested + b"K\x01s."
    path = tmp_path / "c.pt"
    torch.save({}, path, _use_new_zipfile_serialization=archive)
    if archive:
        with zipfile.ZipFile(path) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        with zipfile.ZipFile(path, "w") as hostile:
            for name, data in members.items():
                hostile.writestr(name, content if name.endswith("data.pkl") else data)
    else:
        path.write_bytes(path.read_bytes().replace(b"\x80\x02}q\x00.", content, 1))
        assert content in path.read_bytes()
    with pytest.raises(ValueError, match="damaged, truncated"):
        read_checkpoint(path)


def test_archives_larger_than_their_file(tmp_path: Path) -> None:
    torch.save({"model": torch.zeros(100_000)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match="damaged, truncated"):
        read_checkpoint(tmp_path / "c.pt")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>Quota exceeded</html>\n" * 100)


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")


def other_weights(path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)


def torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("version", "data.pkl", "constants.pkl"):
            archive.writestr(f"archive/{name}", "3\n")


@pytest.mark.parametrize("write", [empty, text, other_archive, other_weights, torchscript])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_other_files(tmp_path: Path, write: Any, ending: str) -> None:
    path = tmp_path / f"c{ending}"
    write(path)
    with pytest.raises(
        ValueError, match=r"c\.\w+: damaged, truncated, or not a checkpoint of PyTorch"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, new_format: bool, kept: float) -> None:
    path = tmp_path / "c.pt"
    content = {"model": {"weight": torch.zeros(5000)}}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match="truncated"):
        read_checkpoint(path)


def test_a_file_that_is_no_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "c.pt")
    with pytest.raises(ValueError, match="holds one list, expected a dict of state dicts"):
        read_checkpoint(tmp_path / "c.pt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*c\.pt"):
        read_checkpoint(tmp_path / "c.pt")
