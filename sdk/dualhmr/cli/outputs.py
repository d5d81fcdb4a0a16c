"""The files that `dualhmr recover` writes of a photograph."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualhmr.recovery import Recovery

OUTPUTS = {
    "npz": "recovery.npz",
    "overlay": "overlay.png",
    "steps": "steps.png",
    "glb": "mesh.glb",
}
"""The files that `write_outputs` can write."""

# Of the strips of all persons, one below the other.
_STRIPS_HEIGHT = 4000
_PANEL_HEIGHTS = (64, 360)


def write_outputs(
    recovery: Recovery,
    image: npt.NDArray[np.uint8] | None,
    folder: Path,
    outputs: Collection[str] = tuple(OUTPUTS),
) -> list[Path]:
    """Writes the chosen ones of `OUTPUTS` into `folder`; returns their paths.

    `image` (H, W, 3) may be None where no picture is chosen.
    `steps.png` has a strip for every person, smaller ones for many persons. Every file is written
    completely or not at all. Raises OSError, naming the file, if one cannot be written.
    """
    from dualhmr.rendering import write_png

    folder.mkdir(parents=True, exist_ok=True)
    paths = {output: folder / name for output, name in OUTPUTS.items() if output in outputs}
    for output, path in paths.items():
        if output == "overlay":
            write_png(path, recovery.overlay(image, keypoints=True))
        elif output == "steps" and image is not None:
            write_png(path, _all_strips(recovery, image))
        else:
            recovery.save(path)
    return list(paths.values())


def _all_strips(recovery: Recovery, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One below the other, narrower ones padded with white; without persons the photograph."""
    if len(recovery) == 0:
        return image
    low, high = _PANEL_HEIGHTS
    panel_height = min(max(_STRIPS_HEIGHT // len(recovery), low), high)
    pictures = [
        recovery.step_strip(image, person, panel_height=panel_height)
        for person in range(len(recovery))
    ]
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ]
    return np.concatenate(padded)
