"""Writing files so that nobody ever sees half of one; text, JSON and tables in Markdown; hashes."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    The temporary name lies in the same folder, so that the final rename cannot cross file
    systems, and keeps the suffix, so that libraries that choose a format by it still can.
    It names no file yet: the block creates the file, with the usual permissions.

    Raises:
        FileNotFoundError: the folder to write in does not exist.
        IsADirectoryError: `path` is a folder.
        PermissionError: the file may not be written there; it names `path`.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder, a file name is needed")
    temporary = target.with_name(f".{target.stem[:40]}.{uuid.uuid4().hex}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except PermissionError as error:
        if error.filename is not None and Path(error.filename) == temporary:
            raise PermissionError(
                error.errno, f"no permission to write in the folder {target.parent}", str(target)
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
