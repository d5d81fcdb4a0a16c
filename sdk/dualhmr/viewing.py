"""Pages of results that were written: `recovery.npz` of a photograph, motions of a video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import read_body
from dualhmr.motion import Motion
from dualhmr.outputs import OUTPUTS
from dualhmr.recovery import Recovery
from dualhmr.recovery_files import is_recovery
from dualhmr.rendering import page
from dualhmr.rendering.page import PagePerson

_TRACKS = "track_*.npz"
_PAGE_BODIES = 240
"""Of all tracks and frames in a page: 13 MB."""


def written_page(result: str | os.PathLike[str]) -> Path | None:
    """The page that `result` is or holds: a file `.html`, or a folder with `result.html`."""
    path = Path(result)
    inside = path / OUTPUTS["html"]
    if path.is_dir():
        return inside if inside.is_file() else None
    return path if path.suffix.lower() == ".html" and path.is_file() else None


def result_page(
    result: str | os.PathLike[str], *, image: Any = None, body: BodyArrays | None = None
) -> str:
    """A page of a `recovery.npz`, of a motion's `.npz`, or of a folder that holds some.

    `image` is a recovery's photograph. Motions have a slider of their frames, of which some are
    left out where they are many. `body` is the one of the files, by default the free one. Nothing
    in the files is run. Raises FileNotFoundError, and ValueError for another or a damaged file.
    """
    path = Path(result)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        tracks = sorted(path.glob(_TRACKS))
        if not tracks and not (path / OUTPUTS["npz"]).is_file():
            raise ValueError(
                f"{path} has no {OUTPUTS['html']}, {OUTPUTS['npz']} or {_TRACKS}; expected the "
                "folder of a photograph's or a video's results"
            )
        return (
            _motions_page(tracks, body=body, title=path.resolve().name)
            if tracks
            else result_page(path / OUTPUTS["npz"], image=image, body=body)
        )
    if path.suffix.lower() != ".npz":
        raise ValueError(
            f"{path} is no result: expected {OUTPUTS['html']}, an .npz file, or a folder of them; "
            "`dualhmr recover` makes them of a photograph"
        )
    if not is_recovery(path):
        return _motions_page([path], body=body, title=path.name)
    recovery = Recovery.load(path, body=body)
    title = None if isinstance(image, str | os.PathLike) else path.name
    return recovery.page(image, title=title)


def _motions_page(paths: list[Path], *, body: BodyArrays | None, title: str) -> str:
    body = read_body() if body is None else body
    motions = [Motion.load(path, body=body) for path in paths]
    stride = -(-sum(map(len, motions)) // _PAGE_BODIES)
    people = []
    for number, motion in zip(_numbers(paths), motions, strict=True):
        # The same frames of all: those whose numbers the stride divides.
        first = int(-motion.frames[0] % stride)
        some = motion[first::stride] if first < len(motion) else motion[:1]
        people.append(
            PagePerson(
                number=number,
                steps=some.frames.tolist(),
                vertices=some.vertices(),
                joints=some.joints,
                keypoints=np.zeros((len(some), 0, 2)),
                observed=np.zeros((0, 2)),
                losses=[np.nan] * len(some),
            )
        )
    return page(
        people,
        body.faces,
        body.parents,
        focal_length=1.0,
        principal_point=(0.0, 0.0),
        title=title,
        frames_per_second=motions[0].fps / stride,
    )


def _numbers(paths: list[Path]) -> list[int]:
    """Of tracks, from the files' names `track_01.npz`; 1 for another file."""
    digits = [path.stem.removeprefix("track_") for path in paths]
    known = all(each.isascii() and each.isdigit() and len(each) < 10 for each in digits)
    return [int(each) for each in digits] if known else list(range(1, len(paths) + 1))
