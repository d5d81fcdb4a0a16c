"""Files that are used only if they are whole and were made with the facts that count.

Beside a file lies its record, NAME.json: the facts that it was made with, and its sha256.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualhmr.files import atomic_path, write_json

_KEY_DIGITS = 16  # of a sha256's 64
_log = logging.getLogger(__name__)


def key_of(facts: Mapping[str, str]) -> str:
    """A hash of the facts, in hexadecimal."""
    text = json.dumps(dict(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def write_file(path: Path, facts: Mapping[str, str], content: bytes) -> None:
    """Writes `content`, and beside it the facts and the hash; OSError where that fails."""
    record = {"facts": dict(facts), "sha256": hashlib.sha256(content).hexdigest()}
    # The record comes last: without it, or with an older one, the content is not used.
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    write_json(_record_path(path), record)


def read_file(path: Path, facts: Mapping[str, str]) -> bytes | None:
    """The content, if it is whole and was written with these facts, else None.

    The log says why an existing file is not used.
    """
    if not path.is_file():
        return None
    record = read_record(path)
    if found := differences(record["facts"], facts):
        _log.info("%s is not used: it was made with %s", path, found)
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        _log.warning("%s is not used: %s", path, error)
        return None
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        _log.warning("%s is not used: it is truncated or damaged", path)
        return None
    return content


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_record(path: Path) -> dict[str, Any]:
    """Facts and hash of a file; empty ones if they are missing or damaged."""
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        return {"facts": dict(record["facts"]), "sha256": str(record["sha256"])}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {"facts": {}, "sha256": ""}


def differences(found: Mapping[str, object], expected: Mapping[str, str]) -> str:
    """Which facts are other than expected, as text."""
    return ", ".join(
        f"{name} {found.get(name)} instead of {expected.get(name)}"
        for name in sorted({*expected, *found})
        if found.get(name) != expected.get(name)
    )
