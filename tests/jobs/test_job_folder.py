"""What a job works on, and its folder: nothing half, nothing lost, nothing of another job."""

from pathlib import Path
from typing import Any

import pytest

from dualhmr.image_files import PHOTOGRAPH, VIDEO
from dualhmr.jobs.items import JobItem, find_items
from dualhmr.jobs.job_folder import JobFolder, complete_folder

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.png", "deep/a.png", ".hidden.jpg", ".git/c.jpg", "out/x/overlay.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    (folder / "clip.mp4").touch()
    (folder / "raw.nef").touch()
    (folder / "notes.txt").touch()
    return folder


def names(*inputs: Path, listed: Path | None = None, **options: Any) -> dict[str, str]:
    options = {"recursive": False, "results": Path("none"), **options}
    found = find_items(list(map(str, inputs)), listed and str(listed), **options)
    assert found == sorted(found)
    return {item.name: item.kind for item in found}


def test_items_are_named_by_their_place_in_the_folder(photos: Path) -> None:
    raw = "a raw photograph of a camera"
    flat = {"a.png": PHOTOGRAPH, "b.jpg": PHOTOGRAPH, "clip.mp4": VIDEO, "raw.nef": raw}
    assert names(photos) == flat
    deep = names(photos, recursive=True, results=photos / "out")
    assert deep == {**flat, "deep/a.png": PHOTOGRAPH}
    assert names(photos / "b.jpg", photos / "deep") == {
        "b.jpg": PHOTOGRAPH,
        "deep/a.png": PHOTOGRAPH,
    }


def test_listed_items_are_named_as_they_are_written(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    listed = photos / "list.txt"
    lines = ["# two walks", "", "./b.jpg", str(photos / "a.png"), "deep/../absent.jpg", "b.jpg"]
    listed.write_text("\n".join(lines), encoding="utf-8-sig")
    absolute = str(photos).lstrip("/")
    assert names(listed=listed) == {
        "b.jpg": PHOTOGRAPH,
        f"{absolute}/a.png": PHOTOGRAPH,
        f"{absolute}/absent.jpg": "missing",
    }


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["absent"], "absent does not exist"),
        (["a.png", "deep/a.png"], "would have results of one name"),
        ([".git"], None),
        (["out/x/overlay.png", "other"], "would lie in those of"),
        (["empty"], "no photograph and no video"),
    ],
)
def test_inputs_that_make_no_job(photos: Path, inputs: list[str], message: str | None) -> None:
    (photos / "empty").mkdir()
    (photos / "other" / "overlay.png").mkdir(parents=True)
    (photos / "other" / "overlay.png" / "a.png").write_bytes(PNG)
    paths = [str(photos / each) for each in inputs]
    if "other" in inputs:  # named as the file beside it
        paths[1] = str(photos / "other" / "overlay.png")
    if message is None:
        assert find_items(paths, None, recursive=False, results=Path("none"))
        return
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_items(paths, None, recursive=False, results=Path("none"))


def test_a_folder_is_complete_or_not_there(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    target = tmp_path / "results" / "deep" / "a.png"
    failing = complete_folder(unfinished, target)
    (failing.__enter__() / "half").touch()
    error = OSError("the disk is full")
    assert not failing.__exit__(OSError, error, None)
    assert not target.parent.exists()
    for content in ("first", "second"):
        with complete_folder(unfinished, target) as folder:
            (folder / "whole").write_text(content)
            assert not target.exists() or content == "second"
    assert (target / "whole").read_text() == "first"
    assert not list(unfinished.iterdir())


REQUEST = {"inputs": ["photos"], "options": {"schedule": None, "save": ["npz"]}}


def test_a_folder_of_another_job_is_an_error_that_says_what_differs(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "job")
    job.folder.mkdir()
    job.begin(REQUEST, restart=False)
    (job.results / "a.png").mkdir()
    (job.folder / "mine.txt").touch()
    other = {"inputs": ["photos"], "options": {"schedule": "eft", "save": ["npz"]}}
    with pytest.raises(ValueError, match=r"options\.schedule was None and is now 'eft'.*--restart"):
        job.begin(other, restart=False)
    job.begin(REQUEST, restart=False)
    assert job.is_done(JobItem("a.png", "", PHOTOGRAPH))
    job.begin(other, restart=True)
    assert not job.is_done(JobItem("a.png", "", PHOTOGRAPH))
    assert (job.folder / "mine.txt").exists()


@pytest.mark.parametrize("restart", [False, True])
def test_results_that_no_job_wrote_stay(tmp_path: Path, restart: bool) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(ValueError, match="no job wrote them"):
        JobFolder(tmp_path).begin(REQUEST, restart=restart)
    (tmp_path / "job.json").write_text('{"format": "mine"}')
    with pytest.raises(ValueError, match="is not of a job"):
        JobFolder(tmp_path).begin(REQUEST, restart=restart)
    assert (tmp_path / "results").exists()


def test_records_survive_a_line_that_is_cut_short(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.begin(REQUEST, restart=False)
    for status in ("failed", "done"):
        job.record({"item": "a", "status": status})
    with (tmp_path / "items.jsonl").open("a") as file:
        file.write('{"item": "b", "stat')
    assert job.begin(REQUEST, restart=False) == {"a": {"item": "a", "status": "done"}}
    job.tidy_records()
    assert (tmp_path / "items.jsonl").read_text() == '{"item": "a", "status": "done"}\n'


def test_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    another = pytest.raises(RuntimeError, match="another process is at work")
    with JobFolder(tmp_path).locked(), another:
        JobFolder(tmp_path).locked().__enter__()
    with JobFolder(tmp_path).locked():
        pass
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        JobFolder(tmp_path / "file").locked().__enter__()


def test_what_was_unfinished_cannot_be_completed_any_more(tmp_path: Path) -> None:
    """A process that outlived its job must not put its work among that of the next."""
    job = JobFolder(tmp_path)
    job.begin(REQUEST, restart=False)
    orphan = complete_folder(job.unfinished, job.results / "a.png")
    orphan.__enter__()
    job.begin(REQUEST, restart=False)
    with pytest.raises(OSError, match="No such file"):
        orphan.__exit__(None, None, None)
    assert not list(job.results.iterdir())
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["job.json", "results", "unfinished"]
