"""Which of the images that a keypoint file lists is the image at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

_SHOWN = 3


def find_image(image_name: str | None, listed: Sequence[str]) -> int:
    """Return the position in `listed` of the image called `image_name`, a name or a path.

    Trailing folders are compared as far as both have them, else names, else names without suffix:
    files are moved and converted after they are annotated. Without a name, a single listed image
    is the one. ValueError when no image is meant, or more than one.
    """
    examples = ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
    if image_name is None:
        if len(listed) == 1:
            return 0
        raise ValueError(
            f"it lists {len(listed)} images ({examples}); say which one with image_name"
        )
    for same in (_same_path, _same_name, _same_stem):
        found = [i for i, name in enumerate(listed) if same(_path(name), _path(image_name))]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(listed[i] for i in found[:_SHOWN])
            raise ValueError(
                f"{len(found)} images listed in it could be {image_name!r} ({names}); "
                "give image_name as it is written there"
            )
    raise ValueError(
        f"image {image_name!r} is not listed in it; it lists {len(listed)} images ({examples})"
    )


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))  # files annotated on Windows


def _same_path(listed: PurePosixPath, wanted: PurePosixPath) -> bool:
    return listed.parts == wanted.parts[-len(listed.parts) :]


def _same_name(listed: PurePosixPath, wanted: PurePosixPath) -> bool:
    return listed.name == wanted.name


def _same_stem(listed: PurePosixPath, wanted: PurePosixPath) -> bool:
    return listed.stem == wanted.stem
