import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dualhmr
from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.cli import main
from dualhmr.example import example
from dualhmr.rendering.distance_colours import distance_scale

FILES = {"recovery.npz", "overlay.png", "steps.png", "mesh.glb", "result.html"}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(example()[0]).save(path)
    return path


@pytest.fixture
def keypoints(photo: Path) -> Path:
    given = example()[1]
    path = photo.with_suffix(".npy")
    np.save(path, np.concatenate([given.xy, given.confidence[..., None]], axis=2))
    return path


def test_writes_the_files_and_prints_json(
    photo: Path, keypoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["recover", photo, "--keypoints", keypoints, "--out", out, "--max-steps", 3]
    options = ["--json", "--schedule", "eft", "--color", "uncertainty"]
    assert main([*map(str, arguments), *options]) == 0
    assert {path.name for path in out.iterdir()} == FILES
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert f"networks: {printed['engine']}\n" in captured.err
    (person,) = printed["persons"]
    assert person["steps"] == len(person["loss_history"]) - 1 == 3
    assert person["stop_reason"] == "max_steps"
    assert person["reprojection_px"]["after"] < person["reprojection_px"]["before"]
    assert printed["engine"].startswith("onnxruntime")
    assert printed["timings_ms"]["adaptation"] > 0
    assert list(person["uncertainty_m"]) == list(JOINT_NAMES)
    with np.load(out / "recovery.npz") as saved:
        assert [*person["uncertainty_m"].values()] == pytest.approx(saved["uncertainty"][0])
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.height == 512
        # The scale is to the right: yellow above, violet below.
        column = np.asarray(overlay)[:, -distance_scale(512).shape[1] :].astype(int)
        assert (column[:256, :, 1] - column[:256, :, 2]).max() > 150
        assert (column[256:, :, 2] - column[256:, :, 1]).max() > 60


def test_a_folder_goes_on_after_a_photograph_that_cannot_be_used(
    photo: Path, keypoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photo.parent / "broken.jpg").write_bytes(b"not a picture")
    keypoints.with_name("broken.npy").write_bytes(keypoints.read_bytes())
    out = tmp_path / "out"
    arguments = ["recover", photo.parent, "--keypoints", photo.parent, "--out", out]
    assert main([*map(str, arguments), "--max-steps", "1", "--json"]) == 1
    captured = capsys.readouterr()
    printed = json.loads(captured.out)["images"]
    assert "broken.jpg" in printed["broken.jpg"]["error"]
    assert printed["photo.png"]["persons"]
    assert "[1/2] broken.jpg" in captured.err
    assert captured.err.count("networks: onnxruntime") == 1
    assert {path.name for path in out.iterdir()} == {"photo"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a photograph, a folder of them, or --example"),
        (["absent.png"], "absent.png"),
        (["photo.png", "--keypoint-set", "coco_17"], "--keypoint-set says how --keypoints"),
        (["photo.png", "--min-confidence", "0"], "--min-confidence says how --keypoints"),
        (["photo.png", "--detector", "yolo"], "unknown detector 'yolo'"),
        (["photo.png", "--keypoints", "photo.npy", "--detector", "movenet"], "leave one of them"),
        (["--example", "--keypoints", "k.npy"], "--example brings its own"),
        (["absent.png", "--keypoints", "photo.npy"], "absent.png"),
        (["photo.png", "--keypoints", "absent.npy"], "absent.npy"),
        (["photo.png", "--keypoints", "photo.npy", "--bundle", "."], "is not a bundle"),
        (["photo.png", "--keypoints", "photo.npy", "--out", "photo.png"], "is a file"),
        (["photo.png", "--keypoints", "photo.npy", "--device", "tpu"], "unknown device 'tpu'"),
        (["photo.png", "--keypoints", "photo.npy", "--threads", "0"], "at least 1, got 0"),
        (
            ["photo.png", "--keypoints", "photo.npy", "--backend", "torch", "--provider", "cpu"],
            "not of backend 'torch'",
        ),
        (["photo.npy", "--keypoints", "photo.npy"], "photo.npy"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    photo: Path,
    keypoints: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert keypoints.exists()
    monkeypatch.chdir(photo.parent)
    before = sorted(Path().rglob("*"))
    out = [] if "--out" in arguments else ["--out", "made"]
    assert main(["recover", *arguments, *out]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path for path in sorted(Path().rglob("*")) if path.name != "made"] == before
    assert not Path("made").exists() or not list(Path("made").iterdir())


def test_the_backend_is_the_one_asked_for(
    photo: Path, keypoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["recover", str(photo), "--keypoints", str(keypoints), "--out", str(tmp_path / "out")]
    common += ["--max-steps", "0"]
    assert main([*common, "--backend", "torch"]) == 0
    assert "networks: torch" in capsys.readouterr().err
    assert main([*common, "--provider", "cpu", "--threads", "1"]) == 0
    assert "networks: onnxruntime" in capsys.readouterr().err


def test_folder_without_permission(
    photo: Path,
    keypoints: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Simulated, because CI may run as root, who can write anywhere.
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    out = tmp_path / "locked"
    assert main(["recover", str(photo), "--keypoints", str(keypoints), "--out", str(out)]) == 1
    assert "no permission to write in the folder" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_sizes_that_contradict_the_keypoint_file(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = example()[1]
    points = np.concatenate([given.xy[0], 2 * given.confidence[0][:, None]], axis=1)
    content = {
        "images": [{"id": 1, "file_name": "photo.png", "width": 640, "height": 480}],
        "annotations": [
            {"id": 1, "image_id": 1, "num_keypoints": 10, "keypoints": points.ravel().tolist()}
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    out = tmp_path / "out"
    assert main(["recover", str(photo), "--keypoints", str(path), "--out", str(out)]) == 1
    assert "640x480" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"dualhmr {dualhmr.__version__}\n"
    assert dualhmr.__version__ == importlib.metadata.version("dualhmr")


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "reads keypoints and box_info" in printed
    assert "dualhmr-free-body" in printed


def test_the_installed_command_runs_the_example(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("dualhmr")
    done = subprocess.run(
        [command, "recover", "--example", "--out", tmp_path, "--max-steps", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert done.stdout == ""
