"""`run_job`: folders and lists of photographs and videos, on all cores or on a cluster.

A job can be interrupted or killed at any time: the same call goes on where it was.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dualhmr.arguments import whole_number
from dualhmr.body.files import FREE_BODY
from dualhmr.bundle import MANIFEST, open_bundle
from dualhmr.compiling import usable_cpus
from dualhmr.files import sha256
from dualhmr.jobs.crew import Crew, LocalCrew, work_through
from dualhmr.jobs.items import JobItem, find_items, is_readable
from dualhmr.jobs.job_folder import JobFolder, Record
from dualhmr.jobs.worker import JobOptions, JobWorker, Outcome, as_record, not_read
from dualhmr.motion import MOTION_SUFFIXES
from dualhmr.outputs import OUTPUTS
from dualhmr.recoverer.arguments import chosen_schedule, device_name
from dualhmr.recovery import OVERLAY_COLORS

PathLike = str | os.PathLike[str]


class Progress(NamedTuple):
    """Where a job is, after each item."""

    outcome: Outcome
    ended: int
    """Items that are done or failed, with those of earlier runs."""
    total: int


@dataclass(frozen=True)
class JobReport:
    """How a run of a job ended."""

    folder: Path
    done: int
    """Items that this run completed."""
    kept: int
    """Items that earlier runs had completed."""
    failed: dict[str, str]
    """Why items have no results, by name."""

    def __repr__(self) -> str:
        """In one line."""
        return f"JobReport({self.done} done, {self.kept} kept, {len(self.failed)} failed)"


def run_job(
    inputs: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    options: JobOptions | None = None,
    listed: PathLike | None = None,
    recursive: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    restart: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> JobReport:
    """Recovers from every photograph and video of `inputs`, each into a folder of its own.

    An item's results are in `out/results/NAME`, complete or not at all;
    `docs/how_to/jobs.md` describes the folder. Items that are done are kept, so the same call
    after an interruption goes on, and gives the same files as without it. An item whose file's
    size or time has changed is done again, and so is one that failed.

    Processes are started anew, so a script that calls this needs `if __name__ == "__main__":`.

    Args:
        inputs: Photographs, videos, and folders of them.
        out: The job's folder, made if it is missing.
        options: Networks, device, schedule, what is saved.
        listed: A text file of paths, one a line, in addition to `inputs`.
        recursive: Whether folders in folders are looked into.
        workers: Processes; None: one for each core, or one on a GPU, or as many as the cluster has
            places for. Results do not depend on it.
        ray: The address of a Ray cluster; "" starts a Ray on this machine. None: no Ray.
        restart: Deletes the results in `out` of a job with other options.
        progress: Called after each item.

    Raises:
        FileNotFoundError, ValueError, TypeError: An input or an option cannot be used, or `out` has
            results of another job.
        ImportError: Ray or an engine is not installed.
        RuntimeError: Another process works in `out`, an engine fails, or all processes die.
    """
    options = options or JobOptions()
    names = [os.fspath(each) for each in _as_sequence(inputs)]
    listed = None if listed is None else os.fspath(listed)
    request = {
        "inputs": names,
        "list": listed,
        "recursive": recursive,
        **_checked(options),
    }
    if workers is not None and whole_number("workers", workers) < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    folder = JobFolder(out)
    items = find_items(names, listed, recursive=recursive, results=folder.folder)
    with folder.locked():
        waiting, seen = _waiting(folder, items, folder.begin(request, restart=restart))
        worker = JobWorker(options, folder.results, folder.unfinished)
        kept, failed = len(items) - len(waiting), {}
        ended = kept
        for outcome in _outcomes(worker, waiting, workers, ray):
            ended += 1
            folder.record(as_record(outcome, seen[outcome.item]))
            if outcome.error is not None:
                failed[outcome.item] = outcome.error
            if progress is not None:
                progress(Progress(outcome, ended, len(items)))
        folder.tidy_records()
    return JobReport(folder.folder, len(waiting) - len(failed), kept, dict(sorted(failed.items())))


def _as_sequence(inputs: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    return [inputs] if isinstance(inputs, str | os.PathLike) else inputs


def _checked(options: JobOptions) -> dict[str, Any]:
    """What decides the results, as plain data: networks and body by their content.

    Raises what `Recoverer` does for options that need no network to be checked.
    """
    from dualhmr import __version__

    bundle = open_bundle(options.bundle)
    chosen_schedule(bundle, options.schedule, options.max_steps, options.iterate)
    device_name(options.device)
    options.engine()
    _chosen("color", [options.color], OVERLAY_COLORS)
    motions = [suffix.removeprefix(".") for suffix in MOTION_SUFFIXES]
    plain = asdict(options) | {
        "save": _chosen("save", options.save, list(OUTPUTS)),
        "motion_formats": _chosen("motion_formats", options.motion_formats, motions),
    }
    del plain["bundle"]
    body = plain.pop("body")
    if body is not None and Path(body).is_file():
        body = sha256(Path(body))
    elif body is None and bundle.manifest.body == FREE_BODY:
        body = FREE_BODY
    return {
        "dualhmr": __version__,
        "bundle": {"name": bundle.manifest.name, "sha256": sha256(bundle.folder / MANIFEST)},
        "body": body,
        "options": plain,
    }


def _chosen(name: str, values: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = [each for each in values if each not in known]
    if unknown:
        raise ValueError(f"{name} has {', '.join(unknown)}; known are {', '.join(known)}")
    return [each for each in known if each in values]


def _waiting(
    folder: JobFolder, items: Sequence[JobItem], records: dict[str, Record]
) -> tuple[list[JobItem], dict[str, dict[str, int]]]:
    """Items to work on, and the state of every item's file."""
    waiting, seen = [], {}
    for item in items:
        seen[item.name] = now = _state(item)
        record = records.get(item.name)
        if folder.is_done(item):
            if record is None or all(record.get(name) == value for name, value in now.items()):
                # Without a record the job was killed between the two.
                if record is None:
                    folder.record(as_record(Outcome(item.name), now))
                continue
            folder.forget(item)
        waiting.append(item)
    return waiting, seen


def _state(item: JobItem) -> dict[str, int]:
    """By which a change of the file is found; nothing where it is missing, as results then stay."""
    try:
        state = Path(item.path).stat()
    except OSError:
        return {}
    return {"bytes": state.st_size, "modified_ns": state.st_mtime_ns}


def _outcomes(
    worker: JobWorker, items: Sequence[JobItem], workers: int | None, ray: str | None
) -> Iterable[Outcome]:
    """Of all items, by processes that are ended in any case."""
    # Nothing has to be started for files that are not read.
    unread = [item for item in items if not is_readable(item)]
    yield from (not_read(item) for item in unread)
    items = [item for item in items if is_readable(item)]
    if not items:
        return
    crew: Crew
    if ray is not None:
        from dualhmr.jobs.ray_crew import RayCrew

        crew = RayCrew(worker, workers, address=ray)
    else:
        on_cpu = device_name(worker.options.device) == "cpu"
        most = max(usable_cpus() // worker.options.threads, 1) if on_cpu else 1
        crew = LocalCrew(worker, min(workers or most, len(items)))
    try:
        yield from work_through(items, crew)
    finally:
        crew.close()
