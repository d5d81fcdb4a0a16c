"""`training.json`: what a training was made from."""

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from dualhmr.body import Body
from dualhmr.files import atomic_path
from dualhmr_training.configuration import TrainingConfig

RECORD = "training.json"


def training_record(config: TrainingConfig, body: Body, **data: object) -> dict[str, Any]:
    """Configuration, commit, body, and what else the training draws on, as plain values."""
    record = {
        "commit": current_commit(),
        "config": asdict(config),
        "body": body.name,
        "body_sha256": digest_of_body(body),
        **data,
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Writes `training.json` for a training that begins."""
    with atomic_path(out / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check_record(out: Path, record: dict[str, Any]) -> None:
    """Raises ValueError where the training in `out` began with another body or other data.

    The commit may differ, and the checkpoint knows the configuration.
    """
    path = out / RECORD
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    differing = [
        name
        for name in sorted({*there, *record} - {"commit", "config"})
        if there.get(name) != record.get(name)
    ]
    if differing:
        raise ValueError(
            f"the training in {out} began with other data (see {', '.join(differing)} in "
            f"{RECORD}); go on with the same, or train into another folder"
        )


def digest_of_body(body: Body) -> str:
    """The sha256 of its shape at rest and of how it changes."""
    return digest(body.v_template, body.shapedirs, body.posedirs)


def digest(*tensors: Tensor) -> str:
    """The sha256 of what tensors hold, in hexadecimal."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def current_commit() -> str:
    """The commit that trains, as git names it; `unknown` outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
