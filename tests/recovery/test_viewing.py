"""Results read back, and the pages of them: `Recovery.load`, `recovery.show`, `dualhmr view`."""

import argparse
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
from numpy.typing import NDArray

from dualhmr import Recoverer, Recovery
from dualhmr.cli import view
from dualhmr.keypoints import Keypoints, KeypointSet
from dualhmr.viewing import result_page


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
    assert shown[0].startswith('<iframe srcdoc="&lt;!DOCTYPE html')
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
    assert data["fps"] == walk.fps / 2
