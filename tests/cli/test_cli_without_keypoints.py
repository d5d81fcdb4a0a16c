"""`dualhmr recover` and `dualhmr detect` on photographs alone."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dualhmr.cli import detect, main
from dualhmr.example import example

FAST = ("--max-steps", "1", "--save", "npz", "--json")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A person, nobody, a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(example()[0]).save(folder / "person.png")
    Image.fromarray(np.full((60, 80), 128, np.uint8)).save(folder / "wall.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def run_detect(*arguments: object) -> int:
    """Without the entry point, which is new until the package is installed again."""
    parser = argparse.ArgumentParser()
    detect.add_arguments(parser)
    return detect.run(parser.parse_args([str(each) for each in arguments]))


def test_recover_takes_a_photograph_alone(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["recover", str(photos / "person.png"), "--out", str(out), *FAST]) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert len(printed["persons"]) == 1
    assert printed["detector"] == "movenet"
    assert "detector: movenet\n" in captured.err
    assert (out / "recovery.npz").exists()


def test_nobody_is_no_error(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["recover", str(photos / "wall.png"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["persons"] == []
    assert "nobody recovered: movenet found no person" in captured.err


def test_a_folder_goes_on(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["recover", str(photos), "--out", str(out), *FAST]) == 1
    printed = json.loads(capsys.readouterr().out)["images"]
    assert "broken.png" in printed["broken.png"]["error"]
    assert len(printed["person.png"]["persons"]) == 1
    assert printed["wall.png"]["persons"] == []


def test_persons_below_the_score_are_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["recover", str(photos / "person.png"), "--out", str(tmp_path / "out"), *FAST]
    assert main([*arguments, "--min-person-score", "0.9"]) == 0
    assert json.loads(capsys.readouterr().out)["persons"] == []


def test_detect_writes_what_recover_reads(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    assert run_detect(photos, "--out", out, "--json") == 1  # one file is broken
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert [len(each.get("persons", ())) for each in printed["images"].values()] == [0, 1, 0]
    assert printed["images"]["person.png"]["persons"][0]["score"] > 0.2
    assert "nobody found" in captured.err
    with Image.open(out / "person" / "keypoints.png") as picture:
        assert picture.size == (512, 512)
        assert not np.array_equal(np.asarray(picture), example()[0])
    document: dict[str, Any] = json.loads((out / "keypoints.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["person.png", "wall.png"]
    person, keypoints = str(photos / "person.png"), str(out / "keypoints.json")
    arguments = ["recover", person, "--keypoints", keypoints, "--out", str(tmp_path / "out")]
    assert main([*arguments, *FAST]) == 0
    assert len(json.loads(capsys.readouterr().out)["persons"]) == 1


def test_detect_on_one_photograph(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one"
    assert run_detect(photos / "person.png", "--out", out, "--no-pictures") == 0
    assert [path.name for path in out.iterdir()] == ["keypoints.json"]
    assert run_detect("--example", "--out", tmp_path / "example") == 0
    assert (tmp_path / "example" / "keypoints.png").exists()
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="give a photograph"):
        run_detect()
    with pytest.raises(FileNotFoundError, match="absent"):
        run_detect(photos / "absent.png", "--out", out)


def test_detect_does_not_replace_a_photograph(photos: Path) -> None:
    (photos / "person.png").rename(photos / "keypoints.png")
    with pytest.raises(ValueError, match="is a photograph"):
        run_detect(photos / "keypoints.png", "--out", photos)
