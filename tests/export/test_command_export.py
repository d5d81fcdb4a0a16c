from pathlib import Path
from typing import Any

import pytest
from helpers.release_checkpoints import flat_state, write_meta_hmr, write_spin

from dualhmr import Recoverer, open_bundle
from dualhmr.cli import main
from dualhmr.engines.onnx_check import onnx_metadata
from dualhmr.example import example
from dualhmr_export.parity import BOUNDS, Bounds
from dualhmr_export.write_bundle import write_adaptation_graph

EFT = ["--schedule", "eft"]
"""The schedule of one phase and the fewest losses."""


@pytest.fixture(scope="module")
def known_graphs() -> dict[str, dict[str, bytes]]:
    return {}


@pytest.fixture(autouse=True)
def each_graph_once(
    known_graphs: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tests here adapt the same head: what the first one traces serves all of them."""

    def write(path: Path, *facts: Any, schedule: str | None, steps: bool) -> None:
        key, folder = str(schedule), path.parent
        if key not in known_graphs:
            write_adaptation_graph(path, *facts, schedule=schedule, steps=True)
            written = list(folder.glob("adaptation*.onnx"))
            known_graphs[key] = {each.name: each.read_bytes() for each in written}
            for each in written:
                each.unlink()
        for name, content in known_graphs[key].items():
            if steps or name == path.name:
                (folder / name).write_bytes(content)

    monkeypatch.setattr("dualhmr_export.write_bundle.write_adaptation_graph", write)


def test_a_training_becomes_a_bundle(
    training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    arguments = ["--precision", "fp16", "--format", "tensorrt", "--target", "sm86", "--graphs-only"]
    arguments += ["--step-graphs", *EFT]
    assert main(["export", str(training), "--out", str(out), "--max-batch", "3", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("fp16 in onnxruntime")
    assert captured.out.count("holds |") == 4
    assert f"the bundle is in {out}, " in captured.err
    assert "building a TensorRT engine of auxiliary.onnx" in captured.err
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.precision, manifest.max_batch) == ("mine", "fp16", 3)
    assert manifest.description.startswith("dualhmr training")
    assert manifest.schedule.name != "eft"
    assert set(manifest.files) > {"adaptation_start.onnx", "adaptation_step_1.onnx"}
    assert onnx_metadata(out / "adaptation.onnx")["schedule"] == "eft"
    assert len(list((out / "engines").glob("*.sm86.*.engine"))) == 4
    weights = {name for name in manifest.files if name.endswith(".safetensors")}
    assert weights == {"head.safetensors"} == {path.name for path in out.glob("*.safetensors")}
    assert main(["recover", "--example", "--bundle", str(out), "--out", str(tmp_path / "o")]) == 0
    for adaptation in ("numba", "onnx", "torch"):  # the head is all that they read
        recovery = Recoverer(out, adaptation=adaptation).recover(*example(), schedule="eft")
        assert 0 < recovery.steps[0] <= 14
    for needing_more in ({"backend": "torch"}, {"scope": "all"}):
        with pytest.raises(FileNotFoundError, match=r"graphs only.*again without --graphs-only"):
            Recoverer(out, **needing_more)
    assert main(["verify", str(out)]) == 1
    assert "has graphs only, without backbone.safetensors" in capsys.readouterr().err


def test_out_of_bounds_there_is_no_bundle(
    training: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(BOUNDS, "fp16", Bounds(features=1e-9, mesh_mm=1e-9))
    before = sorted(tmp_path.iterdir())
    command = ["export", str(training), "--out", str(tmp_path / "b"), "--precision", "fp16", *EFT]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "the export is out of bounds, nothing was kept" in error
    assert error.count("FAILS") == 2
    assert sorted(tmp_path.iterdir()) == before


def test_verify_says_what_does_not_hold(
    training: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "b"
    command = ["export", str(training), "--out", str(out), "--precision", "fp16", *EFT]
    assert main(command) == 0
    assert main(["verify", str(out)]) == 0
    monkeypatch.setitem(BOUNDS, "fp16", Bounds(features=1e-9, mesh_mm=2.0))
    capsys.readouterr()
    assert main(["verify", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("FAILS") == 1
    assert "out of bounds" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "sm86"], "add --format tensorrt"),
        (["--format", "tensorrt"], "there is no GPU here to build an engine for"),
        (["--format", "tensorrt", "--target", "sm12"], "sm12"),
        (["--mean-params", "m.npz"], "leave out mean_params"),
        (["--auxiliary", "no.pt"], "no.pt"),
    ],
)
def test_arguments_that_cannot_be(
    arguments: list[str],
    message: str,
    training: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", str(training), "--out", str(tmp_path / "b"), *EFT, *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_files_that_cannot_be_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spin, truncated = tmp_path / "hmr.pt", tmp_path / "truncated.pt"
    write_spin(spin, fill=flat_state)
    write_meta_hmr(truncated, fill=flat_state)
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    for checkpoint, message in (
        (spin, "pass SPIN's smpl_mean_params.npz"),
        (truncated, "truncated.pt"),
        (tmp_path / "nothing.pt", "nothing.pt"),
    ):
        assert main(["export", str(checkpoint), "--out", str(tmp_path / "b")]) == 1
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hmr.pt", "truncated.pt"]
