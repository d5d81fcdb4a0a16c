"""Results read back, and the pages of them: `Recovery.load`, `recovery.show`, `dualhmr view`."""

import argparse
import base64
import io
import json
import re
import sys
import types
import webbrowser
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.walking_people import frame
from numpy.typing import NDArray
from PIL import Image

from dualhmr import Recoverer, Recovery, viewing
from dualhmr.cli import view
from dualhmr.keypoints import Keypoints, KeypointSet
from dualhmr.video import VideoWriter
from dualhmr.viewing import named_video, result_page


@pytest.fixture(scope="module")
def recovery(recoverer: Recoverer, photo: NDArray[np.uint8], keypoints: Keypoints) -> Recovery:
    """Of two persons, with different numbers of steps."""
    xy = np.concatenate([keypoints.xy, keypoints.xy + np.float32([200, 0])])
    pair = Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, 2, axis=0))
    first, second = (recoverer.recover(photo, pair, max_steps=n)[k] for k, n in enumerate((2, 4)))
    joined = {
        field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
        for field in fields(first)
        if isinstance(getattr(first, field.name), np.ndarray) and field.name != "faces"
    }
    tuples = ("loss_history", "stop_reason", "traces")
    joined |= {name: getattr(first, name) + getattr(second, name) for name in tuples}
    return replace(first, keypoints=pair, **joined)


@pytest.fixture(scope="module")
def saved(recovery: Recovery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "recovery.npz"
    recovery.save(path)
    return path


def data_of(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert match is not None
    return json.loads(match[1])


def test_what_is_loaded_is_what_was_saved(
    recovery: Recovery, saved: Path, photo: NDArray[np.uint8]
) -> None:
    loaded = Recovery.load(saved)
    for field in fields(Recovery):
        mine, theirs = getattr(loaded, field.name), getattr(recovery, field.name)
        if isinstance(theirs, np.ndarray):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    assert loaded.keypoints.set == recovery.keypoints.set
    assert loaded.loss_history == recovery.loss_history
    assert loaded.stop_reason == recovery.stop_reason
    assert loaded.page(photo) == recovery.page(photo)
    assert (loaded.engine, loaded.skipped, loaded.warnings) == ("unknown", (), ())


def test_nobody_and_own_keypoints_are_loaded(recovery: Recovery, tmp_path: Path) -> None:
    names = KeypointSet("mine", tuple(f"point {k}" for k in range(len(recovery.keypoints.set))))
    own = replace(recovery, keypoints=replace(recovery.keypoints, set=names))
    nobody = {
        field.name: getattr(own, field.name)[:0]
        for field in fields(own)
        if field.name in ("loss_history", "stop_reason", "traces")
        or (isinstance(getattr(own, field.name), np.ndarray) and field.name != "faces")
    }
    for each in (own, replace(own, keypoints=own.keypoints.select([]), **nobody)):
        each.save(tmp_path / "r.npz")
        loaded = Recovery.load(tmp_path / "r.npz")
        assert len(loaded) == len(each)
        assert loaded.keypoints.set.names == names.names


def test_another_body_is_refused(recovery: Recovery, tmp_path: Path) -> None:
    body = recovery.body
    assert body is not None
    taller = replace(body, v_template=body.v_template * np.float32(1.1))
    replace(recovery, body=taller).save(tmp_path / "r.npz")
    unknown = Recovery.load(tmp_path / "r.npz")  # a changed free body has no file of its own
    assert unknown.body is None
    with pytest.raises(ValueError, match="without its body"):
        unknown.page()
    recovery.save(tmp_path / "s.npz")
    with pytest.raises(ValueError, match="pass body="):
        Recovery.load(tmp_path / "s.npz", body=taller)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((2, 5), np.float32)}, "vertices is"),
        ({"best_step": np.array([0, 99])}, "are not there"),
        ({"faces": np.array([[0, 1, 10**9]])}, "faces must name"),
        ({"joints": np.full((2, 24, 3), np.nan, np.float32)}, "joints has numbers"),
        ({"body": None}, "it lacks body"),
        ({"focal_length": np.zeros(2, np.float32)}, "focal_length must be"),
        ({"step_counts": np.array([3, -1])}, "are not there"),
    ],
)
def test_wrong_files_are_named_errors(
    change: dict[str, Any], message: str, saved: Path, tmp_path: Path
) -> None:
    with np.load(saved) as arrays:
        changed = {k: v for k, v in (dict(arrays) | change).items() if v is not None}
    np.savez(tmp_path / "wrong.npz", **changed)
    with pytest.raises(ValueError, match=rf"wrong.npz: cannot be read as a recovery.*{message}"):
        Recovery.load(tmp_path / "wrong.npz")


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    view.add_arguments(parser)
    return view.run(parser.parse_args(list(map(str, arguments))))


def test_the_command_opens_pages(
    recovery: Recovery,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    page = tmp_path / "page.html"
    assert run(saved, "--out", page) == 0
    assert opened == [page.as_uri()]
    assert data_of(page.read_text(encoding="utf-8")) == data_of(recovery.page())
    assert run(page, "--no-browser") == 0
    assert capsys.readouterr().out.split() == [str(page)] * 2
    assert len(opened) == 1
    recovery.show()
    assert Path(opened[1].removeprefix("file://")).read_text(encoding="utf-8") == recovery.page()
    for wrong in (tmp_path, tmp_path / "photo.jpg"):
        (tmp_path / "photo.jpg").touch()
        with pytest.raises(ValueError, match="expected"):
            result_page(wrong)


def test_in_a_notebook_the_page_is_in_the_cell(
    recovery: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    notebook = types.SimpleNamespace(HTML=str, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    recovery.show()
    assert shown[0].startswith('<div><iframe srcdoc="&lt;!DOCTYPE html')
    assert "<script" not in shown[0]


def test_tracks_have_a_slider_of_frames(recovery: Recovery, tmp_path: Path) -> None:
    one = recovery[0].motion()
    walk = replace(
        one,
        rotations=np.repeat(one.rotations, 300, axis=0),
        translation=np.linspace([-1, 0, 4], [1, 0, 4], 300),
        focal_length=np.zeros(0),
        principal_point=np.zeros((0, 2)),
        confidence=np.zeros(0),
        frames=np.zeros(0, int),
    )
    walk.save(tmp_path / "track_02.npz")
    replace(walk[:11], frames=np.arange(7, 18)).save(tmp_path / "track_05.npz")
    data = data_of(result_page(tmp_path))
    assert [person["number"] for person in data["persons"]] == [2, 5]
    assert data["persons"][0]["steps"] == list(range(0, 300, 2))
    assert data["persons"][1]["steps"] == [8, 10, 12, 14, 16]
    assert data["fps"] == walk.fps
    assert data["pictures"] == []


@pytest.fixture(scope="module")
def tracks(recovery: Recovery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tracks of a clip of 12 frames, of whose first frames 3 was filled in."""
    folder = tmp_path_factory.mktemp("tracks")
    one = recovery[0].motion()
    frames = np.array([2, 4, 5, 6, 7, 8, 9])
    row = np.zeros(len(frames), int)
    names = ("rotations", "translation", "focal_length", "principal_point", "confidence")
    walk = replace(one, frames=frames, **{name: getattr(one, name)[row] for name in names})
    walk.save(folder / "track_01.npz")
    far = replace(walk, focal_length=2 * walk.focal_length, frames=frames + 1)
    far.save(folder / "track_04.npz")
    with VideoWriter(folder / "clip.mp4", fps=10) as video:
        for number in range(12):
            pixels = frame(number)
            pixels[60:] = np.random.default_rng(number).integers(0, 255, (60, 160, 3))
            video.write(pixels, number / 10)
    (folder / "tracks.json").write_text('{"video": "clip.mp4", "size": [160, 120]}')
    return folder


def test_frames_of_the_video_are_those_of_the_bodies(tracks: Path) -> None:
    data = data_of(result_page(tracks, video=named_video(tracks)))
    near, far = data["persons"]
    assert near["steps"] == list(range(2, 10))
    assert near["seen"] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert data["size"] == [160, 120]
    said = {}
    for number, address in data["pictures"]:
        pixels = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        said[number] = round(np.asarray(pixels)[4:20, 4:20].mean() / 10)
    assert said == {number: number for number in range(2, 11)}  # `frame` draws its number
    # Half as far for the page's camera, whose focal length is half of its own: seen the same.
    joints = [np.array(person["joints"][0]) for person in (near, far)]
    np.testing.assert_allclose(joints[1][0, 2], joints[0][0, 2] / 2, rtol=0.01)


def test_pictures_are_bounded_in_bytes(tracks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def size() -> int:
        pictures = data_of(result_page(tracks, video=tracks / "clip.mp4"))["pictures"]
        assert len(pictures) == 9
        return sum(len(base64.b64decode(each.partition(",")[2])) for _, each in pictures)

    most = int(0.95 * size())
    monkeypatch.setattr(viewing, "_PAGE_PICTURES_BYTES", most)
    assert size() <= most


def test_only_a_video_in_the_folder_is_found_by_itself(tracks: Path, tmp_path: Path) -> None:
    assert named_video(tracks) == tracks / "clip.mp4"
    assert named_video(tracks / "track_01.npz") is None
    for name in (
        "../clip.mp4",
        str(tracks / "clip.mp4"),
        "link.mp4",
        "",
        "..",
        "a\0",
        ["clip.mp4"],
    ):
        (tmp_path / "tracks.json").write_text(json.dumps({"video": name}))
        (tmp_path / "clip.mp4").touch()
        (tmp_path / "link.mp4").unlink(missing_ok=True)
        (tmp_path / "link.mp4").symlink_to(tracks / "clip.mp4")
        inside = tmp_path / "results"
        inside.mkdir(exist_ok=True)
        (inside / "tracks.json").write_text(json.dumps({"video": name}))
        assert named_video(tmp_path) is None
        assert named_video(inside) is None
    (tmp_path / "tracks.json").write_text("[")
    assert named_video(tmp_path) is None


def test_another_video_is_refused_and_one_found_is_left_out(
    tracks: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with VideoWriter(tmp_path / "short.mp4", fps=10) as video:
        video.write(frame(0), 0)
    with pytest.raises(ValueError, match="has 1 frames, and the motions reach to frame 10"):
        result_page(tracks, video=tmp_path / "short.mp4")
    with pytest.raises(ValueError, match="pass image, not video"):
        result_page(saved, video=tmp_path / "short.mp4")
    for name in ("track_01.npz", "clip.mp4"):
        (tmp_path / name).write_bytes((tracks / name).read_bytes())
    (tmp_path / "tracks.json").write_text('{"video": "clip.mp4", "size": [99, 120]}')
    with pytest.raises(ValueError, match="pass the video that was recovered"):
        result_page(tmp_path, video=tmp_path / "clip.mp4")
    page = tmp_path / "page.html"
    assert run(tmp_path, "--out", page, "--no-browser") == 0
    assert "the page is without the video" in capsys.readouterr().err
    assert data_of(page.read_text(encoding="utf-8"))["pictures"] == []
