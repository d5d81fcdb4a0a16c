"""`dualhmr recover` with what users have: folders, options, and things that go wrong on the way."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dualhmr.cli.recover as command
from dualhmr import Recoverer, Recovery
from dualhmr.cli import main
from dualhmr.cli.photographs import _on_disk, folder_names
from dualhmr.example import example
from dualhmr.outputs import OUTPUTS, USUAL_OUTPUTS, to_json
from dualhmr.plausibility import PersonWarning

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on a folder: exit status, the JSON on stdout, stderr."""

    def recover(*arguments: object) -> tuple[int, Any, str]:
        status = main(["recover", *map(str, arguments), "--max-steps", "0", "--json"])
        captured = capsys.readouterr()
        return status, json.loads(captured.out, parse_constant=pytest.fail), captured.err

    return recover


def points(person: int = 0) -> list[list[float]]:
    given_keypoints = example()[1]
    columns = [given_keypoints.xy[person], given_keypoints.confidence[person][:, None]]
    return np.concatenate(columns, axis=1).tolist()


def photo(path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(example()[0]).save(path, **options)
    return path


def keypoints(path: Path, persons: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([points()] if persons is None else persons))
    return path


SAVE = ("--save", "npz")


def test_one_bad_item_never_costs_the_rest(tmp_path: Path, run: Run) -> None:
    photos, files = tmp_path / "photos", tmp_path / "keypoints"
    for name in ("a", "b_missing", "c_damaged", "d_empty", "e_broken_npy", "f_not_a_photo", "z"):
        photo(photos / f"{name}.png")
        keypoints(files / f"{name}.json")
    (photos / "g_postscript.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    keypoints(files / "g_postscript.json")
    (files / "b_missing.json").unlink()
    (files / "c_damaged.json").write_text('{"people": [')
    (files / "d_empty.json").write_text("")
    (files / "e_broken_npy.json").unlink()
    (files / "e_broken_npy.npy").write_bytes(b"\x93NUMPY\1\0\6\0(((((\n")
    (photos / "f_not_a_photo.png").write_bytes(b"no picture")
    status, printed, said = run(photos, "--keypoints", files, "--out", tmp_path / "out", *SAVE)
    assert status == 1
    reports = printed["images"]
    assert len(reports) == 8
    for name, report in reports.items():
        if name in ("a.png", "z.png"):
            assert report["persons"]
            assert Path(report["files"][0]).is_file()
        else:
            assert set(report) == {"error"}
            assert Path(name).stem in report["error"]
            assert report["error"] in said
    assert "PostScript" in reports["g_postscript.jpg"]["error"]
    assert "6 of 8 photographs could not be used" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "z"]


def test_errors_that_nobody_expected_and_full_disks_are_entries_too(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c", "d"):
        photo(tmp_path / "photos" / f"{name}.png")
    save = Recovery.save

    def failing_save(self: Recovery, path: Path) -> None:
        if path.parent.name == "a":
            raise KeyError("a bug")
        if path.parent.name == "b":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        if path.parent.name == "c":
            raise MemoryError
        save(self, path)

    monkeypatch.setattr(Recovery, "save", failing_save)
    file = keypoints(tmp_path / "k.json")
    out = tmp_path / "out"
    status, printed, _ = run(tmp_path / "photos", "--keypoints", file, "--out", out, *SAVE)
    assert status == 1
    errors = [report.get("error") for report in printed["images"].values()]
    assert errors[0] == "KeyError: 'a bug'"
    assert "No space left" in errors[1]
    assert "recovery.npz" in errors[1]
    assert errors[2:] == ["MemoryError", None]


def test_a_full_disk_while_writing_leaves_nothing_half_written(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, **_arrays: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    out = tmp_path / "out"
    status, printed, said = run("--example", "--out", out)
    assert status == 1
    assert "No space left on device" in printed["error"]
    assert str(out / "recovery.npz") in said
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos", "--keypoints", "absent.json"],
        ["photos", "--keypoints", "damaged.json"],
        ["photos/p.png", "--keypoints", "damaged.json"],
        ["absent.png", "--keypoints", "k.json"],
        ["empty", "--keypoints", "k.json"],
        ["--example", "--device", "tpu"],
        ["--example", "--bundle", "photos"],
        [],
    ],
)
def test_json_is_one_object_whatever_happens(
    arguments: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "photos" / "p.png")
    keypoints(tmp_path / "k.json")
    (tmp_path / "damaged.json").write_text("[")
    (tmp_path / "empty").mkdir()
    status, printed, said = run(*arguments, "--out", "out")
    assert status == 1
    assert set(printed) == {"error"}
    assert said == f"dualhmr: {printed['error']}\n"


def test_an_interrupted_run_reports_what_was_done(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        photo(tmp_path / "photos" / f"{name}.png")
    save = Recovery.save

    def interrupted(self: Recovery, path: Path) -> None:
        if path.parent.name == "b":
            raise KeyboardInterrupt
        save(self, path)

    monkeypatch.setattr(Recovery, "save", interrupted)
    file = keypoints(tmp_path / "k.json")
    status, printed, _ = run(tmp_path / "photos", "--keypoints", file, "--out", tmp_path, *SAVE)
    assert status == 130
    assert list(printed["images"]) == ["a.png"]
    assert printed["error"] == "KeyboardInterrupt"


def test_numbers_that_are_not_finite_are_null() -> None:
    value = {"a": [float("nan"), 1.5, (float("inf"), None)], "b": {"c": -float("inf"), "d": "NaN"}}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == {
        "a": [None, 1.5, [None, None]],
        "b": {"c": None, "d": "NaN"},
    }


@pytest.mark.parametrize("persons", [[], [[[0, 0, 0]] * 17], [[[5, 5, 1]] * 17]])
@pytest.mark.parametrize("folder", [True, False])
def test_nobody_is_a_result_and_it_is_said(
    persons: Any, folder: bool, tmp_path: Path, run: Run
) -> None:
    path = photo(tmp_path / "photos" / "p.png")
    file = keypoints(tmp_path / "k.json", persons)
    out = tmp_path / "out"
    status, printed, said = run(path.parent if folder else path, "--keypoints", file, "--out", out)
    assert status == 0
    report = printed["images"]["p.png"] if folder else printed
    assert report["persons"] == []
    assert [skipped["person"] for skipped in report["skipped"]] == list(range(len(persons)))
    assert "nobody recovered" in said
    assert ("person 0 skipped: " in said) == bool(persons)
    assert {Path(written).name for written in report["files"]} == {
        OUTPUTS[output] for output in USUAL_OUTPUTS
    }
    with np.load(report["files"][0]) as arrays:
        assert len(arrays["vertices"]) == 0


def test_warnings_are_said(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    recover = Recoverer.recover

    def warning(self: Recoverer, *arguments: Any, **options: Any) -> Recovery:
        found = recover(self, *arguments, **options)
        return replace(found, warnings=(PersonWarning(0, "poor_fit", "far off"),))

    monkeypatch.setattr(Recoverer, "recover", warning)
    _, printed, said = run("--example", "--out", tmp_path, *SAVE)
    assert printed["warnings"] == [{"person": 0, "kind": "poor_fit", "message": "far off"}]
    assert "person 0 warning (poor_fit): far off" in said


def test_photographs_that_are_not_read_are_named(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    photos = tmp_path / "photos"
    photo(photos / "a.JFIF", format="JPEG")
    photo(photos / "b.gif", save_all=True, append_images=[Image.new("RGB", (512, 512))])
    photo(photos / "c", format="WEBP")
    (photos / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    for name in ("e.dng", "f.mov", "g.psd", "h.svg"):
        (photos / name).write_bytes(b"")
    (photos / "notes.txt").write_text("of the trip")
    status, printed, said = run(
        photos, "--keypoints", keypoints(tmp_path / "k.json"), "--out", tmp_path / "out", *SAVE
    )
    assert status == 1
    reports = printed["images"]
    assert list(reports) == ["a.JFIF", "b.gif", "c", "d.heic"]
    assert "dualhmr[heic]" in reports.pop("d.heic")["error"]
    assert all(report["persons"] for report in reports.values())
    assert "several frames" in reports["b.gif"]["notes"][0]
    assert "several frames" in said
    assert set(printed["not_read"]) == {"e.dng", "f.mov", "g.psd", "h.svg"}
    assert all(name in said for name in printed["not_read"])


def test_photographs_of_one_stem_have_folders_of_their_own(tmp_path: Path, run: Run) -> None:
    photos = tmp_path / "photos"
    for name in ("p.jpg", "p.png", "p.jpg.png", "q.png"):
        photo(photos / name)
    _, printed, _ = run(
        photos, "--keypoints", keypoints(tmp_path / "k.json"), "--out", tmp_path / "out", *SAVE
    )
    folders = {
        name: Path(report["files"][0]).parent.name for name, report in printed["images"].items()
    }
    assert folders == {"p.jpg": "p.jpg", "p.jpg.png": "p.jpg.png", "p.png": "p.png", "q.png": "q"}


NAMES = st.text("aAbB.é\u0301-2", min_size=1, max_size=5).filter(lambda name: name[0] != ".")


@given(st.sets(st.builds("{}{}".format, NAMES, st.sampled_from([".jpg", ".png", ".JPG", ""]))))
def test_no_two_folder_names_are_alike(names: set[str]) -> None:
    folders = folder_names(sorted(names))
    assert len({_on_disk(folder) for folder in folders}) == len(names)
    for name, folder in zip(sorted(names), folders, strict=True):
        assert folder.startswith(Path(name).stem)
        alone = [other for other in names if _on_disk(other).startswith(_on_disk(Path(name).stem))]
        assert len(alone) > 1 or folder == Path(name).stem


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], set(USUAL_OUTPUTS)),
        (["--no-pictures"], {"npz", "glb"}),
        (["--save", "glb, npz"], {"npz", "glb"}),
        (["--save", "overlay,gif,npz", "--no-pictures"], {"npz"}),
    ],
)
def test_what_is_saved(arguments: list[str], expected: set[str], tmp_path: Path, run: Run) -> None:
    status, printed, _ = run("--example", "--out", tmp_path / "out", *arguments)
    assert status == 0
    names = {OUTPUTS[output] for output in expected}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert {Path(file).name for file in printed["files"]} == names


def test_outputs_that_do_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["recover", "--example", "--save", "npz,fbx"])
    assert stop.value.code == 2
    assert "'fbx' cannot be saved; expected a list of npz,overlay" in capsys.readouterr().err


def test_persons_have_one_number_everywhere(tmp_path: Path, run: Run) -> None:
    path = photo(tmp_path / "p.png")
    file = keypoints(tmp_path / "k.json", [[[0, 0, 0]] * 17, points()])
    out = tmp_path / "out"
    _, printed, _ = run(path, "--keypoints", file, "--out", out, "--save", "npz,glb")
    assert [person["person"] for person in printed["persons"]] == [1]
    assert [skipped["person"] for skipped in printed["skipped"]] == [0]
    with np.load(out / "recovery.npz") as arrays:
        assert arrays["persons"].tolist() == [1]
    assert b'"person_1"' in (out / "mesh.glb").read_bytes()
    assert b'"person_0"' not in (out / "mesh.glb").read_bytes()


def test_results_never_replace_a_photograph(tmp_path: Path, run: Run) -> None:
    path = photo(tmp_path / "overlay.png")
    file = keypoints(tmp_path / "k.json")
    before = path.read_bytes()
    status, printed, _ = run(path, "--keypoints", file, "--out", tmp_path)
    assert status == 1
    assert "overlay.png is a photograph, and results would replace it" in printed["error"]
    assert run(path, "--keypoints", file, "--out", tmp_path, *SAVE)[0] == 0
    assert path.read_bytes() == before


def test_options_reach_the_reader(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo(tmp_path / "p.png")
    percent = [[[x, y, 100 * score] for x, y, score in points()]]
    file = keypoints(tmp_path / "k.json", percent)
    common = [path, "--keypoints", file, "--out", tmp_path / "out", *SAVE]
    assert run(*common)[0] == 1
    status, printed, _ = run(*common, "--score-scale", 100)
    assert status == 0
    assert printed["persons"]
    status, printed, _ = run(*common, "--score-scale", 100, "--min-confidence", 1)
    assert status == 0
    status, printed, _ = run(*common, "--score-scale", 100, "--max-pixels", 1000)
    assert "512x512 are 262144 pixels, the limit is 1000" in printed["error"]
    seen = {}

    def find(*arguments: Any, **_: Any) -> None:
        seen.update(arguments[2]._asdict())
        raise ValueError("far enough")

    monkeypatch.setattr(command, "find_photographs", find)
    run(*common, "--points-frame", "raw", "--min-person-score", 0.5)
    assert seen["points_frame"] == "raw"
    assert seen["min_person_score"] == 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_keypoints_of_the_upright_photograph(orientation: int, tmp_path: Path, run: Run) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    pixels = np.pad(example()[0], ((0, 0), (0, 200), (0, 0)))  # wider than high
    upright, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(back[orientation]) if orientation in back else upright
    stored.save(tmp_path / "p.png", exif=exif)
    file = keypoints(tmp_path / "k.json")
    arguments = [tmp_path / "p.png", "--keypoints", file, "--out", tmp_path / "out", *SAVE]
    _, printed, _ = run(*arguments, "--points-frame", "upright")
    upright.save(tmp_path / "p.png")
    _, expected, _ = run(*arguments)
    assert printed["persons"] == expected["persons"] != []
