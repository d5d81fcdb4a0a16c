"""The photographs and videos of a job, each with a name of its own for its results."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dualhmr.image_files import PHOTOGRAPH, VIDEO, kind_of_file


class JobItem(NamedTuple):
    """One photograph or video."""

    name: str
    """The folder of its results, relative, with slashes: `walks/first.mp4`."""
    path: str
    """Absolute."""
    kind: str
    """`PHOTOGRAPH`, `VIDEO`, or what else the file is, which is not read."""


def find_items(
    inputs: Sequence[str], listed: str | None, *, recursive: bool, results: Path
) -> list[JobItem]:
    """The items of files, of folders and of a file that lists paths, in order of their names.

    An item of a folder is named by its path in the folder, after the folder's own name if there are
    several inputs; a file by its name; a listed file by its path as it is written in the list,
    without the slash or drive in front. A name says nothing about the other items, so it stays when
    files are added. `results` is never looked into.

    Raises FileNotFoundError for an input that is missing, ValueError for two items of one name and
    where there is no item at all.
    """
    several = len(inputs) + (listed is not None) > 1
    found: dict[str, JobItem] = {}
    for each in inputs:
        place = Path(each).absolute()
        if not place.exists():
            raise FileNotFoundError(f"{each} does not exist; give photographs, videos or folders")
        if place.is_dir():
            prefix = f"{place.resolve().name}/" if several else ""
            for path in _files_in(place, results.absolute(), recursive=recursive):
                if (kind := kind_of_file(path)) is not None:
                    _add(found, f"{prefix}{path.relative_to(place).as_posix()}", path, kind)
        else:
            _add(found, place.name, place, kind_of_file(place) or "not a photograph or video")
    for line in [] if listed is None else _lines(listed):
        # The file may be missing: one item that cannot be read never costs the rest.
        path = Path(line).absolute()
        name = Path(os.path.normpath(path if ".." in Path(line).parts else line))
        name = name.relative_to(name.anchor)
        kind = kind_of_file(path) or "not a photograph or video"
        _add(found, name.as_posix(), path, kind if path.exists() else "missing")
    if not found:
        raise ValueError("there is no photograph and no video in what the job was given")
    for key in found:
        for above in PurePosixPath(key).parents:
            if str(above) in found:
                raise ValueError(
                    f"results of {found[key].path} would lie in those of {found[str(above)].path}; "
                    "use one job for each"
                )
    return sorted(found.values())


def _files_in(folder: Path, results: Path, *, recursive: bool) -> Iterator[Path]:
    """Without hidden files and folders; links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if recursive and not name.startswith(".") and here / name != results
        )
        yield from (here / name for name in files if not name.startswith("."))


def _lines(listed: str) -> list[str]:
    """The paths in a text file, one a line; empty lines and those that begin with # are not."""
    try:
        text = Path(listed).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{listed} is not a list of paths in UTF-8: {error}") from error
    if "\0" in text:
        raise ValueError(f"{listed} is not a list of paths: it is no text")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _add(found: dict[str, JobItem], name: str, path: Path, kind: str) -> None:
    # What disks that ignore case and composition (macOS, Windows) take the name for.
    key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    item = JobItem(name, str(path), kind)
    if key in found and found[key] != item:
        raise ValueError(
            f"{found[key].path} and {path} would have results of one name, {name}; put them into "
            "folders of different names, or use one job for each"
        )
    found[key] = item


def is_readable(item: JobItem) -> bool:
    """Whether it is a photograph or a video."""
    return item.kind in (PHOTOGRAPH, VIDEO)
