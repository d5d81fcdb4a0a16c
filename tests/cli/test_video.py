"""`dualhmr video`: its files, its errors, and Ctrl-C."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.walking_people import crossing, detector, frame

import dualhmr
from dualhmr.cli import video as command
from dualhmr.cli.shared_options import open_recoverer
from dualhmr.detection import Detections
from dualhmr.video import VideoReader, VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, fps=10) as video:
        for number in range(10):
            video.write(frame(number), number / 10)
    return path


def run(monkeypatch: pytest.MonkeyPatch, people: Any, *arguments: object) -> int:
    """The command with a detector that cannot be named on the command line."""

    def recoverer(options: argparse.Namespace, **_: Any) -> dualhmr.Recoverer:
        return open_recoverer(options, detector=detector(people))

    monkeypatch.setattr(command, "open_recoverer", recoverer)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


def test_what_it_writes(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = (clip, "--out", tmp_path, "--motion-format", "npz,bvh")
    assert run(monkeypatch, crossing, *arguments) == 0
    printed = capsys.readouterr()
    names = {Path(line).name for line in printed.out.splitlines()}
    tracks = {f"track_{number:02d}.{suffix}" for number in (1, 2) for suffix in ("npz", "bvh")}
    assert names == tracks | {"tracks.json", "overlay.mp4"}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert "recovering: 10/10 frames" in printed.err
    assert "track 2: 10 frames from 0 to 9" in printed.err
    assert f"dualhmr view {tmp_path} --video {clip}" in printed.err


def test_ctrl_c_keeps_what_is_finished(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def people(number: int) -> Detections:
        if number == 6:
            raise KeyboardInterrupt
        return crossing(number)

    assert run(monkeypatch, people, clip, "--out", tmp_path) == 130
    document = json.loads((tmp_path / "tracks.json").read_text())
    assert (document["complete"], len(document["times_s"])) == (False, 6)
    assert document["tracks"][0]["frames"] == list(range(6))
    with VideoReader(tmp_path / "overlay.mp4") as video:
        assert len(list(video)) == 6


def test_options_and_errors(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = (clip, "--out", tmp_path, "--no-overlay", "--no-smoothing")
    assert run(monkeypatch, crossing, *plain, "--cold", "--max-frames", "4") == 0
    document = json.loads((tmp_path / "tracks.json").read_text())
    assert [track["start"] for track in document["tracks"]] == [["cold"] * 4] * 2
    assert not (tmp_path / "overlay.mp4").exists()
    with pytest.raises(FileNotFoundError, match="no video at"):
        run(monkeypatch, crossing, tmp_path / "none.mp4", "--out", tmp_path)
    with pytest.raises(ValueError, match="cannot follow people between its runs"):
        run(monkeypatch, crossing, *plain, "--detect-every", "2")
    own = tmp_path / "overlay.mp4"
    own.write_bytes(clip.read_bytes())
    with pytest.raises(ValueError, match="would be replaced by the overlay"):
        run(monkeypatch, crossing, own, "--out", tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, crossing, clip, "--motion-format", "fbx")
