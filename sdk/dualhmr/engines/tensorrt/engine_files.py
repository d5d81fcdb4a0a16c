"""Files that hold a built engine, sealed with what it was made from and of.

A file is a magic number, the length of a JSON header, the header and the payload. The header holds
the facts that the payload depends on, as text by name, and the payload's sha256. TensorRT runs what
it is given, so a file is checked in full before its payload is handed out. The hash finds damage,
not malice: engines are as trustworthy as the folders that they lie in.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dualhmr.engines.tensorrt.keys import differences
from dualhmr.files import atomic_path

_log = logging.getLogger(__name__)
_MAGIC = b"dualhmr sealed 1"
_LENGTH_BYTES = 4
_LONGEST_HEADER = 1 << 16


def write_sealed(path: Path, facts: Mapping[str, str], payload: bytes) -> None:
    """Writes a file whole or not at all. OSError where it cannot be written, or the disk is full.

    Raises FileNotFoundError where the folder is missing.
    """
    seal = {"facts": dict(facts), "sha256": hashlib.sha256(payload).hexdigest()}
    header = json.dumps(seal, sort_keys=True).encode()
    assert len(header) <= _LONGEST_HEADER, "facts are a few words each"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header)
        file.write(payload)


def read_sealed(path: Path, facts: Mapping[str, str]) -> bytes | None:
    """The payload of a file that is whole and was made with exactly these facts, else None.

    Notes in the log why a file that is there was not used.
    """
    try:
        with path.open("rb") as file:
            seal = _read_header(file)
            if differing := differences(seal["facts"], facts):
                _log.info("%s is not used: it was made with %s", path, differing)
                return None
            payload = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s is not used: %s", path, error)
        return None
    found = hashlib.sha256(payload).hexdigest()
    if found != seal["sha256"]:
        _log.warning("%s is not used: it is damaged; its sha256 is %s", path, found)
        return None
    return payload


def read_facts(path: Path) -> dict[str, Any] | None:
    """What a file says it was made with, its payload unread; None if it is no such file."""
    try:
        with path.open("rb") as file:
            return dict(_read_header(file)["facts"])
    except (OSError, ValueError):
        return None


def _read_header(file: BinaryIO) -> dict[str, Any]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no file of ours, or of another version")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _LONGEST_HEADER:
        raise ValueError("its header is damaged")
    try:
        seal = json.loads(file.read(length))
        if not isinstance(seal["facts"], dict) or not isinstance(seal["sha256"], str):
            raise TypeError("of another form")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    return dict(seal)
