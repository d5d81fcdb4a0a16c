"""Small data sets in the format that users bring, written by the tests themselves."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualhmr_training.data.annotations import Annotations, read_annotations

Arrays = dict[str, NDArray[Any]]
WIDTH, HEIGHT = 320, 400


def everything(count: int = 3, seed: int = 0) -> Arrays:
    """All arrays of an annotation file, for `count` persons in images of 320 x 400."""
    rng = np.random.default_rng(seed)

    def seen(points: int) -> NDArray[np.float64]:
        places = rng.uniform((60, 60), (WIDTH - 60, HEIGHT - 60), (count, points, 2))
        return np.concatenate([places, rng.uniform(0.3, 1, (count, points, 1))], axis=2)

    return {
        "imgname": np.array([f"images/{i:03d}.png" for i in range(count)]),
        "center": rng.uniform((150, 190), (170, 210), (count, 2)),
        "scale": rng.uniform(1.2, 1.6, count),
        "part": seen(24),
        "openpose": seen(25),
        "pose": 0.3 * rng.standard_normal((count, 72)),
        "shape": rng.standard_normal((count, 10)),
        "has_smpl": np.ones(count),
        "S": np.concatenate(
            [rng.standard_normal((count, 24, 3)), rng.uniform(0.3, 1, (count, 24, 1))], axis=2
        ),
        "gender": np.array(["m", "f"] * count)[:count],
        "focal_length": rng.uniform(400, 600, count),
    }


def write(path: Path, arrays: Arrays) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its stub has `allow_pickle` among them
    return path


def read(path: Path, arrays: Arrays) -> Annotations:
    return read_annotations(write(path, arrays))


def photograph(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A picture in which every place is different, but neighbours are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_images(folder: Path, arrays: Arrays) -> None:
    """A photograph under every name that the annotations give."""
    for number, name in enumerate(arrays["imgname"].astype(str)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(number)).save(path)
