"""Jobs from end to end, interrupted, continued and changed."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from helpers.file_trees import files_in

from dualhmr import JobOptions, run_job
from dualhmr.cli import job as command
from dualhmr.image_files import PHOTOGRAPH
from dualhmr.jobs import worker
from dualhmr.jobs.items import JobItem

PROGRAM = """
import sys
from dualhmr import JobOptions, run_job
if __name__ == "__main__":
    options = JobOptions(adaptation="onnx", save=("npz", "overlay", "glb"))
    run_job(sys.argv[1], sys.argv[2], options=options, recursive=True, workers=1)
"""


def records(folder: Path) -> dict[str, dict[str, object]]:
    lines = (folder / "items.jsonl").read_text().splitlines()
    return {(record := json.loads(line))["item"]: record for line in lines}


def test_a_killed_job_goes_on_to_the_same_files(
    photos: Path, options: JobOptions, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    child = subprocess.Popen(
        [sys.executable, str(program), str(photos), str(out)], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("results/*")):
        assert child.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    half = files_in(out / "results")
    assert 0 < len(half) < len(uninterrupted)
    assert half.items() <= uninterrupted.items()

    seen = []
    again = {"options": options, "recursive": True, "progress": seen.append}
    report = run_job(photos, out, **again)  # type: ignore[arg-type]
    assert files_in(out / "results") == uninterrupted
    assert not list((out / "unfinished").iterdir())
    assert report.done + report.kept == 3
    assert report.kept >= 1
    assert "is not an image" in report.failed["broken.jpg"]
    assert [each.ended for each in seen] == list(range(report.kept + 1, 5))
    statuses = {name: record["status"] for name, record in records(out).items()}
    assert statuses.pop("broken.jpg") == "failed"
    assert statuses == dict.fromkeys(("a.png", "deep/a.png", "deep/clip.mp4"), "done")
    videos = {path.name for path in (out / "results/deep/clip.mp4").iterdir()}
    assert videos == {"tracks.json", "track_01.npz", "overlay.mp4"}

    # Nothing is left to do but the one that failed; then nothing at all.
    broken = (photos / "broken.jpg").rename(tmp_path / "broken.jpg")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert run_job(photos, out, **again).kept == 3  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")} == before
    broken.rename(photos / "broken.jpg")
    for name in uninterrupted:
        assert time.strftime("%Y-%m-%d") not in uninterrupted[name].decode("latin-1")


def test_a_process_that_compiled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process, which takes the loops from the disk, may round differently."""

    def photograph(*arguments: Any) -> int:
        (arguments[-1] / "recovery.npz").touch()
        return 1

    monkeypatch.setattr(worker, "compiled_anew", lambda: True)
    monkeypatch.setattr(worker.JobWorker, "_photograph", photograph)
    for name in ("recoverer", "detector"):
        monkeypatch.setattr(worker.JobWorker, name, None)
    work = worker.JobWorker(JobOptions(), tmp_path / "results", tmp_path)
    item = JobItem("a.png", "a.png", PHOTOGRAPH)
    assert isinstance(work(item), worker.Renewal)
    assert not list(tmp_path.iterdir())
    done = replace(work, renews=False)(item)
    assert isinstance(done, worker.Outcome)
    assert done.error is None
    assert (tmp_path / "results" / "a.png" / "recovery.npz").exists()


def test_a_file_that_changed_is_done_again(tmp_path: Path) -> None:
    """Without a process: the changed file is no photograph any more."""
    photo, out, listed = tmp_path / "photo", tmp_path / "out", tmp_path / "list.txt"
    listed.write_text(f"{photo}\nabsent.jpg\n")
    name = str(photo).lstrip("/")
    first = run_job([], out, listed=listed)
    assert first.failed == {name: f"{photo} is missing", "absent.jpg": ANY}
    photo.write_bytes(b"\x89PNG\r\n\x1a\n")
    # As a job leaves it that is killed before it records what it has done.
    (out / "results" / name).mkdir(parents=True)
    (out / "items.jsonl").unlink()
    assert run_job([], out, listed=listed).kept == 1
    photo.unlink()
    assert run_job([], out, listed=listed).kept == 1, "the results are still there"
    photo.write_bytes(b"no photograph")
    assert run_job([], out, listed=listed).failed.keys() == {name, "absent.jpg"}
    assert not (out / "results" / name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-steps", "-1"], "step"),
        (["--save", "npz,fbx"], "save has fbx"),
        (["--motion-format", "fbx"], "motion_formats has fbx"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--threads", "0"], "at least 1"),
        (["--workers", "0"], "workers is 0"),
        (["--bundle", "."], "is not a bundle"),
    ],
)
def test_wrong_options_are_errors_before_anything_is_written(
    photos: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    out = tmp_path / "out"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        command.run(parser.parse_args([str(photos), "--out", str(out), *arguments]))
    with pytest.raises(ValueError, match="color has red; known are person, uncertainty"):
        run_job(photos, out, options=JobOptions(color="red"))
    assert not out.exists()


def test_the_command_reports_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw.nef").touch()
    parser = ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(tmp_path), "--out", str(tmp_path / "out")])) == 1
    said = capsys.readouterr().err
    assert "[1/1] raw.nef: error: " in said
    assert "is a raw photograph of a camera; 0:00 left" in said
    assert "0 done, 0 kept from before, 1 failed" in said
