"""Writing files so that nobody ever sees half of one; text, JSON and tables in Markdown; hashes."""

import contextlib
import hashlib
import json
import os
import platform
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    The temporary name lies in the same folder, so that the final rename cannot cross file
    systems, and keeps the suffix, so that libraries that choose a format by it still can.
    It names no file yet: the block creates the file, with the usual permissions.
    What killed processes left in the folder is deleted first.

    Raises:
        FileNotFoundError: the folder to write in does not exist.
        IsADirectoryError: `path` is a folder.
        PermissionError: the file may not be written there; it names `path`.
        OSError: the disk is full, and the like; it names `path`.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder, a file name is needed")
    _sweep_once(target.parent.resolve())
    temporary = target.with_name(
        f".{target.stem[:40]}.{_TEMPORARY}-{_host()}-{os.getpid()}-{uuid.uuid4().hex}{target.suffix}"
    )
    try:
        with errors_name(target, instead_of=temporary):
            yield temporary
            temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):  # an error of the block is the one that matters
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def errors_name(target: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """OSErrors of the block that name no file (a full disk's), or `instead_of`, name `target`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or str(error.filename or instead_of) != str(instead_of):
            raise
        reason = f"cannot write the file: {error.strerror}"
        if isinstance(error, PermissionError):
            reason = f"no permission to write in the folder {target.parent}"
        raise OSError(error.errno, reason, str(target)) from error


_TEMPORARY = "dualhmr-temporary"
_LEFTOVER = re.compile(rf"\..*\.{_TEMPORARY}-([0-9a-f]+)-(\d+)-[0-9a-f]{{32}}")
_LEFTOVER_SECONDS = 24 * 3600
"""After which a temporary file is one of a killed process, where nothing else can show it."""


@lru_cache(maxsize=4096)
def _sweep_once(folder: Path) -> None:
    """Delete the temporary files of killed processes, before this process writes into a folder."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            leftover = _LEFTOVER.match(path.name)
            if leftover and _is_abandoned(path, leftover[1], int(leftover[2])):
                path.unlink(missing_ok=True)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
        return True
    # On Windows a signal of 0 is not a question: it ends the process.
    if host != _host() or os.name == "nt" or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


@lru_cache(maxsize=1)
def _host() -> str:
    """Where process numbers mean the same: containers of one name have numbers of their own."""
    name = platform.node()
    with contextlib.suppress(OSError):  # Linux has both
        name += str(Path("/proc/self/ns/pid").readlink())
        name += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text, whole or not at all. Raises as `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], plain: object) -> None:
    """Write JSON, indented; ValueError where a number is not finite, and then no file."""
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the first row holds the column titles.

    Line breaks in a cell become spaces and bars are escaped: a line break ends a Markdown table,
    a bar ends a cell.
    """
    titles, *others = rows
    lines = (
        " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in row)
        for row in (titles, ["---"] * len(titles), *others)
    )
    return "\n".join(f"| {line} |" for line in lines)


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
