"""What subcommands say of their work: JSON for programs, lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualhmr.arguments import message_of
from dualhmr.outputs import describe_people, to_json
from dualhmr.recovery import Recovery


def report(
    recovery: Recovery, notes: Sequence[str], written: Sequence[Path], *, detector: str | None
) -> dict[str, Any]:
    """What `--json` prints for one photograph. `detector` found the people, or None did."""
    return describe_people(recovery) | {
        "notes": list(notes),
        "files": [str(path) for path in written],
        "timings_ms": recovery.timings_ms,
        "detector": detector,
        "engine": recovery.engine,
        "adaptation": recovery.adaptation,
    }


def lines(
    recovery: Recovery, notes: Sequence[str], written: Sequence[Path], *, detector: str | None
) -> Iterator[str]:
    """The same in words."""
    yield from (f"note: {note}" for note in notes)
    yield from (f"person {person} skipped: {reason}" for person, reason in recovery.skipped)
    for warning in recovery.warnings:
        yield f"person {warning.person} warning ({warning.kind}): {warning.message}"
    yield f"{_summary(recovery, detector)}; wrote {', '.join(map(str, written)) or 'nothing'}"


def _summary(recovery: Recovery, detector: str | None) -> str:
    if len(recovery) == 0:
        why = (
            "the keypoints are of no person" if detector is None else f"{detector} found no person"
        )
        why = "all persons were skipped" if recovery.skipped else why
        return f"nobody recovered: {why}"
    before, after = recovery.reprojection_px.mean(0)
    people = "1 person" if len(recovery) == 1 else f"{len(recovery)} persons"
    return f"{people}, keypoints {before:.1f} px off before adaptation, {after:.1f} px after"


def clock(seconds: float) -> str:
    """A time, such as that left: 0:07, 12:00, 1:00:00."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def printed_report(*, as_json: bool) -> Iterator[dict[str, Any]]:
    """A dict to fill in, which is printed in the end as JSON, if asked for.

    With an error, also an interruption, what was done until then is reported, and the error.
    """
    printed: dict[str, Any] = {}
    try:
        yield printed
    except BaseException as error:
        printed["error"] = message_of(error)
        raise
    finally:
        if as_json:
            print(to_json(printed))
