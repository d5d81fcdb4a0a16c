"""Every script in examples/ runs: on the built-in photograph, or on small files made here."""

import ast
import json
import runpy
import sys
from importlib import resources
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from helpers.small_training import write_training
from helpers.tiny_training import write_poses
from PIL import Image

import dualhmr
from dualhmr.example import example
from dualhmr.video import VideoWriter
from dualhmr_benchmarks.latency import measure, report
from dualhmr_training import synthetic_training

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photographs; its COCO file annotates two of them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    image, keypoints = example()
    flat = np.concatenate([keypoints.xy, 2 * keypoints.confidence[..., None]], axis=2)[0].ravel()
    names = ("a.jpg", "b.jpg", "c.jpg")
    for name in names:
        Image.fromarray(image).save(folder / name)
    coco = {
        "images": [
            {"id": number, "file_name": name, "height": 512, "width": 512}
            for number, name in enumerate(names[:2])
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "keypoints": flat.tolist()}
            for number in range(2)
        ],
    }
    (folder / "person_keypoints.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    return write_poses(tmp_path / "poses.npz")


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_there_are_tests_of_all_examples() -> None:
    source = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    called = {
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == "run"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
    }
    assert called == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert f"Run: python examples/{name}.py" in docstring


def test_one_photo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "one_photo", "--out", tmp_path)
    assert "1 person: vertices (1, 6872, 3)" in capsys.readouterr().out
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"body.glb", "overlay.png", "steps.png"}


def test_folder_of_photos(
    monkeypatch: pytest.MonkeyPatch, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        monkeypatch, "folder_of_photos",
        photos, photos / "person_keypoints.json", "--out", photos / "out",
    )  # fmt: skip
    assert {path.name for path in (photos / "out").iterdir()} == {"a.npz", "b.npz"}
    assert "'c.jpg' is not listed in it" in capsys.readouterr().out


def test_video(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with VideoWriter(tmp_path / "clip.mp4", fps=10) as video:
        for number in range(3):
            video.write(example()[0], number / 10)
    run(monkeypatch, "video", tmp_path / "clip.mp4", "--out", tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"person_1.glb", "overlay.mp4"}
    printed = capsys.readouterr().out
    assert "0.20 s: tracks (1,), starts ('warm',)" in printed
    assert "person 1: 3 frames" in printed


def test_own_smpl(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    """With the default networks and their body's file in place of SMPL's."""
    body = resources.files("dualhmr") / "assets" / "free_body.npz"
    run(
        monkeypatch, "own_smpl",
        photos / "a.jpg", photos / "person_keypoints.json", dualhmr.open_bundle().folder, body,
        "--out", photos / "out.npz",
    )  # fmt: skip
    with np.load(photos / "out.npz", allow_pickle=False) as arrays:
        assert arrays["betas"].shape == (1, 10)
        assert arrays["body_pose"].shape == (1, 23, 3, 3)


def test_own_detector(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "own_detector")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert "not detected" in lines[0]
    assert "detected at [ 95. 190.]" in lines[1]


def test_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "without_pytorch")
    assert "adaptation: onnxruntime" in capsys.readouterr().out


def test_export_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a small training in place of a release's file."""
    training = write_training(tmp_path / "training")
    run(monkeypatch, "export_checkpoint", training, tmp_path / "bundle")
    assert "is a checkpoint of dualhmr training, keypoint_trunk" in capsys.readouterr().out
    assert dualhmr.open_bundle(tmp_path / "bundle").manifest.name == "bundle"


def test_tensorrt_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line; and without a GPU, an error that says what is missing."""
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "tensorrt_backend", "--help")
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises((ImportError, RuntimeError), match=r"(?i)tensorrt|cuda|gpu"):
        run(monkeypatch, "tensorrt_backend", "--device", "cuda:99")


def test_train(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(synthetic_training, "VALIDATION_PEOPLE", 10)
    run(monkeypatch, "train", "--steps", 2, "--batch", 4, "--out", tmp_path / "out")
    assert "adapted   PA-MPJPE" in capsys.readouterr().out
    assert (tmp_path / "out" / "main.safetensors").is_file()


def test_evaluate(
    monkeypatch: pytest.MonkeyPatch,
    poses: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(
        monkeypatch, "evaluate",
        poses, "--people", 2, "--max-steps", 2, "--json", tmp_path / "errors.json",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[-2:]] == ["trained", "eft"]


def test_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """But for the measuring itself, which the tests of `dualhmr bench` run."""
    measured = create_autospec(measure.measure)
    monkeypatch.setattr(measure, "measure", measured)
    monkeypatch.setattr(report, "latency_tables", lambda made: f"{made is measured.return_value}")
    run(monkeypatch, "benchmark", "--rounds", 1)
    assert measured.call_args.args[0] == ["default"]
    assert capsys.readouterr().out == "True\n"
