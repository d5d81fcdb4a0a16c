"""The folder of a job: what was asked for, what was done, and the results of each item.

job.json     what was asked for: options and hashes, without times and names of machines
items.jsonl  a line for every item that was worked on: done or failed, why, when, how long, where
results/     one folder for each item that is done, by its name
unfinished/  what is being written; a folder moves to results/ when it is complete
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dualhmr.files import write_json, write_text
from dualhmr.jobs.items import JobItem
from dualhmr.untrusted import brief, parse_json, read_json

FORMAT = "dualhmr-job"
FORMAT_VERSION = 1

Record = dict[str, Any]


class JobFolder:
    """One job's folder, which one process at a time works in."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.results = self.folder / "results"
        self.unfinished = self.folder / "unfinished"
        self._request = self.folder / "job.json"
        self._records = self.folder / "items.jsonl"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes of this machine out. Raises RuntimeError where one is inside."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(f"{self.folder} is a file; a job needs a folder") from error
        with (self.folder / "job.lock").open("a") as file:
            _lock(file, self.folder)
            yield

    def begin(self, request: dict[str, Any], *, restart: bool) -> dict[str, Record]:
        """Prepares the folder for a new job, or for going on; returns what was done, by name.

        Raises ValueError where the folder is of a job with other options, or holds what no job put
        there, and deletes results only with `restart`.
        """
        request = {"format": FORMAT, "format_version": FORMAT_VERSION, **request}
        if not self._request.exists():
            if self.results.exists():
                raise ValueError(
                    f"{self.folder} has results but no job.json, so no job wrote them; choose "
                    "another folder"
                )
        elif restart:
            self._read_request()  # only what a job wrote is deleted
            self._clear_unfinished()
            _remove(self.results)
            self._records.unlink(missing_ok=True)
            self._request.unlink()
        else:
            self._check_same(request)
        self._clear_unfinished()
        self.unfinished.mkdir(exist_ok=True)
        self.results.mkdir(exist_ok=True)
        write_json(self._request, request)
        return self._read_records()

    def is_done(self, item: JobItem) -> bool:
        """Whether its results are there; they are then complete."""
        return (self.results / item.name).is_dir()

    def record(self, record: Record) -> None:
        """Adds a line to items.jsonl. A line that is cut short by a crash is ignored later."""
        with self._records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def tidy_records(self) -> None:
        """Leaves the last line of each item, in order of the names."""
        records = sorted(self._read_records().items())
        write_text(self._records, "".join(f"{json.dumps(record)}\n" for _, record in records))

    def forget(self, item: JobItem) -> None:
        """Removes the results of an item whose file has changed."""
        aside = self.unfinished / uuid.uuid4().hex
        (self.results / item.name).rename(aside)
        _remove(aside)

    def _clear_unfinished(self) -> None:
        """Moves it away first: a process that outlived its job cannot complete anything in it."""
        if self.unfinished.exists():
            self.unfinished.rename(self.folder / f"unfinished.{uuid.uuid4().hex}")
        for folder in self.folder.glob("unfinished.*"):
            _remove(folder)

    def _read_request(self) -> dict[str, Any]:
        before = read_json(self._request)
        if not isinstance(before, dict) or before.get("format") != FORMAT:
            raise ValueError(f"{self._request} is not of a job; choose another folder")
        return before

    def _check_same(self, request: dict[str, Any]) -> None:
        before, now = (_flat(each) for each in (self._read_request(), request))
        changes = [
            f"{name} was {brief(before.get(name))} and is now {brief(now.get(name))}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
        if changes:
            raise ValueError(
                f"{self.folder} has the results of another job: {'; '.join(changes[:8])}. Choose "
                "another folder, or pass restart (--restart), which deletes these results"
            )

    def _read_records(self) -> dict[str, Record]:
        records = {}
        if self._records.exists():
            for line in self._records.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    record = parse_json(line)
                    if isinstance(record, dict) and isinstance(record.get("item"), str):
                        records[record["item"]] = record
        return records


@contextlib.contextmanager
def complete_folder(unfinished: Path, target: Path) -> Iterator[Path]:
    """Lends a new folder that becomes `target` when the block ends well, and vanishes otherwise.

    If `target` is there already, it stays: another process was faster, with the same content.
    """
    temporary = unfinished / uuid.uuid4().hex
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _to_disk(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_dir():
            temporary.rename(target)
    finally:
        _remove(temporary)


def _to_disk(path: Path) -> None:
    """So that a power failure cannot leave a complete folder of empty files."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str], folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RuntimeError(f"another process is at work on the job in {folder}") from error
    except OSError:  # network disks without locks
        return


def _flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return flat
