"""The files that `dualhmr recover` writes: each whole, or not at all."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualhmr.recovery import Recovery


def check_writable(folder: Path) -> None:
    """Makes `folder`, before any work is done, and sees whether it can be written to.

    Raises PermissionError, or NotADirectoryError where a file is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(f"{folder} is a file; --out takes a folder") from error
    except PermissionError as error:
        raise PermissionError(f"no permission to make the folder {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write in the folder {folder}")


def write_outputs(recovery: Recovery, image: npt.NDArray[np.uint8], folder: Path) -> list[Path]:
    """Writes recovery.npz, overlay.png, steps.png and mesh.glb into `folder`; their paths.

    `steps.png` holds a strip for every person. Raises OSError where a file cannot be written.
    """
    from dualhmr.rendering import write_png

    overlay = recovery.overlay(image, keypoints=True)
    strips = _stack([recovery.step_strip(image, person) for person in range(len(recovery))])
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("recovery.npz", "overlay.png", "steps.png", "mesh.glb")]
    recovery.save(paths[0])
    write_png(paths[1], overlay)
    write_png(paths[2], strips)
    recovery.save(paths[3])
    return paths


def _stack(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """One below the other, on white where one is narrower."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ]
    return np.concatenate(padded)
