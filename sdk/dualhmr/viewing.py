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
from dualhmr.rendering.page import PagePerson, PageVideo, camera_shift, jpeg
from dualhmr.untrusted import brief, read_json
from dualhmr.video.frames import VideoReader

_TRACKS = "track_*.npz"
_PAGE_BODIES = 240
"""Of all tracks and frames in a page: 13 MB. And its pictures of a video."""
_PAGE_PICTURES_BYTES = 6_000_000
"""Of all pictures; 8 MB in the page."""
_LEVELS = ((1280, 80), (960, 75), (720, 70), (480, 65), (320, 55), (160, 40))
"""The longest side of pictures and their quality: the finest that the bytes allow."""


def written_page(result: str | os.PathLike[str]) -> Path | None:
    """The page that `result` is or holds: a file `.html`, or a folder with `result.html`."""
    path = Path(result)
    inside = path / OUTPUTS["html"]
    if path.is_dir():
        return inside if inside.is_file() else None
    return path if path.suffix.lower() == ".html" and path.is_file() else None


def named_video(result: str | os.PathLike[str]) -> Path | None:
    """The video that `tracks.json` in the folder `result` names, where it is in that folder.

    The file may come from anybody, so a name with a path, and a link, are not followed.
    """
    name = _tracks(Path(result)).get("video")
    if not isinstance(name, str) or not name or "\0" in name or Path(name).name != name:
        return None
    path = Path(result) / name
    return path if path.is_file() and not path.is_symlink() else None


def result_page(
    result: str | os.PathLike[str],
    *,
    image: Any = None,
    video: str | os.PathLike[str] | None = None,
    body: BodyArrays | None = None,
) -> str:
    """A page of a `recovery.npz`, of a motion's `.npz`, or of a folder that holds some.

    `image` is a recovery's photograph, `video` the file that the motions are of. Motions have a
    slider of their frames, of which some are left out where they are many. `body` is the one of
    the files, by default the free one. Nothing in the files is run. Raises FileNotFoundError,
    ValueError for another or a damaged file, and ImportError for a video without PyAV.
    """
    path = Path(result)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    tracks = sorted(path.glob(_TRACKS)) if path.is_dir() else []
    if path.is_dir() and not tracks:
        if not (path / OUTPUTS["npz"]).is_file():
            raise ValueError(
                f"{path} has no {OUTPUTS['html']}, {OUTPUTS['npz']} or {_TRACKS}; expected the "
                "folder of a photograph's or a video's results"
            )
        path = path / OUTPUTS["npz"]
    if not path.is_dir() and path.suffix.lower() != ".npz":
        raise ValueError(
            f"{path} is no result: expected {OUTPUTS['html']}, an .npz file, or a folder of them; "
            "`dualhmr recover` makes them of a photograph"
        )
    if tracks or not is_recovery(path):
        if image is not None:
            raise ValueError(f"{path} is of a video: pass video, not image")
        return _motions_page(tracks or [path], video=video, body=body, title=path.resolve().name)
    if video is not None:
        raise ValueError(f"{path} is of a photograph: pass image, not video")
    recovery = Recovery.load(path, body=body)
    title = None if isinstance(image, str | os.PathLike) else path.name
    return recovery.page(image, title=title)


def _motions_page(
    paths: list[Path],
    *,
    video: str | os.PathLike[str] | None,
    body: BodyArrays | None,
    title: str,
) -> str:
    body = read_body() if body is None else body
    motions = [Motion.load(path, body=body) for path in paths]
    first = min(int(motion.frames[0]) for motion in motions)
    last = max(int(motion.frames[-1]) for motion in motions)
    longest = last - first + 1 if video is not None else 0
    stride = max(-(-max(sum(map(len, motions)), longest) // _PAGE_BODIES), 1)
    some = [_some_frames(motion, stride) for motion in motions]
    camera = next(((m.focal_length[0], m.principal_point[0]) for m in some if _has_camera(m)), None)
    pictures: dict[int, bytes] = {}
    size = (0, 0)
    if video is not None:
        if camera is None:
            raise ValueError(f"{paths[0]} has no camera: pass no video, it cannot be placed")
        wanted = {number for number in range(first, last + 1) if number % stride == 0}
        wanted |= {int(number) for motion in some for number in motion.frames}
        size, pictures = _pictures(video, wanted)
        _check_size(video, size, paths[0].parent)
    return page(
        [
            _person(number, motion, camera)
            for number, motion in zip(_numbers(paths), some, strict=True)
        ],
        body.faces,
        body.parents,
        focal_length=1.0 if camera is None else float(camera[0]),
        principal_point=(0.0, 0.0) if camera is None else tuple(camera[1].tolist()),
        title=title,
        video=PageVideo(float(motions[0].fps), size, pictures),
    )


def _some_frames(motion: Motion, stride: int) -> Motion:
    """The same frames of all motions: those whose numbers the stride divides; one at least."""
    first = int(-motion.frames[0] % stride)
    return motion[first::stride] if first < len(motion) else motion[:1]


def _has_camera(motion: Motion) -> bool:
    return bool(len(motion.focal_length) and len(motion.principal_point))


def _person(number: int, motion: Motion, camera: tuple[Any, Any] | None) -> PagePerson:
    count = len(motion)
    moved: Any = np.zeros((count, 1, 3))
    if camera is not None and _has_camera(motion):
        depth = motion.joints[:, 0, 2]
        moved = camera_shift(depth, motion.focal_length, motion.principal_point, camera)[:, None]
    return PagePerson(
        number=number,
        steps=motion.frames.tolist(),
        vertices=motion.vertices() + moved,
        joints=motion.joints + moved,
        keypoints=np.zeros((count, 0, 2)),
        observed=np.zeros((0, 2)),
        losses=[np.nan] * count,
        seen=(motion.confidence > 0).tolist(),
    )


def _numbers(paths: list[Path]) -> list[int]:
    """Of tracks, from the files' names `track_01.npz`; 1 for another file."""
    digits = [path.stem.removeprefix("track_") for path in paths]
    known = all(each.isascii() and each.isdigit() and len(each) < 10 for each in digits)
    return [int(each) for each in digits] if known else list(range(1, len(paths) + 1))


def _tracks(folder: Path) -> dict[str, Any]:
    """What `tracks.json` in a folder says; nothing where there is none, or it is damaged."""
    try:
        plain = read_json(folder / "tracks.json")
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _check_size(video: str | os.PathLike[str], size: tuple[int, int], folder: Path) -> None:
    """ValueError where `tracks.json` says that the video was of another size."""
    said = _tracks(folder).get("size", list(size))
    if said != list(size):
        raise ValueError(
            f"{video} has frames of {size[0]}x{size[1]} pixels, and tracks.json is of a video of "
            f"{brief(said)}: pass the video that was recovered"
        )


def _pictures(
    video: str | os.PathLike[str], wanted: set[int]
) -> tuple[tuple[int, int], dict[int, bytes]]:
    """The size of the video's frames, and the frames of these numbers as JPEG.

    Each may take its share of the bytes that are left; once frames had to become smaller, they stay
    so.
    """
    size, count, level = (0, 0), 0, 0
    left, pictures = _PAGE_PICTURES_BYTES, dict[int, bytes]()
    with VideoReader(video) as frames:
        for frame in frames:
            count = frame.number + 1
            if frame.number not in wanted:
                continue
            size = frame.pixels.shape[1], frame.pixels.shape[0]
            most = left // (len(wanted) - len(pictures))
            written = jpeg(frame.pixels, *_LEVELS[level])
            while len(written) > most and level + 1 < len(_LEVELS):
                level += 1
                written = jpeg(frame.pixels, *_LEVELS[level])
            pictures[frame.number] = written
            left -= len(written)
            if frame.number >= max(wanted):
                return size, pictures
    raise ValueError(
        f"{video} has {count} frames, and the motions reach to frame {max(wanted)}: pass the video "
        "that was recovered"
    )
