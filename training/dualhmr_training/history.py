"""What is watched during a training, and the file that keeps it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dualhmr.files import write_text


@dataclass(frozen=True)
class Watched:
    """Sums over the steps since the last report; part of a checkpoint."""

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def plus(self, values: Mapping[str, float]) -> "Watched":
        """With one more step."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return Watched(self.count + 1, sums)

    def means(self) -> dict[str, float]:
        """By name; empty before the first step."""
        return {name: total / self.count for name, total in self.sums.items()}


class History:
    """A file of JSON lines, a row for each report: the step, the time, and numbers by name."""

    def __init__(self, path: Path, *, step: int) -> None:
        """Goes on after `step`.

        Rows beyond it are removed, and a line that was cut short: the training that wrote them was
        killed later than the checkpoint it goes on from, and they will be written again.
        """
        self._path = path
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        rows = [line for line in written.splitlines() if _is_row_up_to(step, line)]
        kept = "".join(row + "\n" for row in rows)
        if kept != written:
            write_text(path, kept)

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Adds a row."""
        line = json.dumps({"step": step, "time": time.time(), **row})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _is_row_up_to(step: int, line: str) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (json.JSONDecodeError, KeyError, TypeError):
        return False
