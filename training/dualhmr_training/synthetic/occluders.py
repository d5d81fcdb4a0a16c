"""What stands in front of synthetic people and hides a stated share of them."""

import numpy as np
from numpy.typing import NDArray

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.synthetic.noise import SMOOTH, noise_window

Array = NDArray[np.float32]

_ROWS, _COLUMNS = np.mgrid[:CROP_HEIGHT, :CROP_WIDTH].astype(np.float32)


def occluder(
    rng: np.random.Generator, visible: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Pixels (256, 192) of one random shape that hides `share` of the `visible` pixels."""
    places = np.flatnonzero(visible)
    if not len(places) or share <= 0:
        return np.zeros_like(visible)
    row, column = divmod(int(rng.choice(places)), CROP_WIDTH)
    reach = _reach(rng, _COLUMNS - np.float32(column), _ROWS - np.float32(row))
    # Shapes are given by how large they must be to hide a pixel, so any share can be met.
    hidden = min(len(places) - 1, round(share * len(places)))
    return reach < np.partition(reach[visible], hidden)[hidden]


def _reach(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """What grows with how large a shape must be to cover each pixel: ellipse, box, bar, ..."""
    angle = rng.normal(0, 0.4)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = cosine * x + sine * y, cosine * y - sine * x
    aspect = np.float32(np.exp(rng.normal(0, 0.5)))
    kind = rng.integers(6)
    if kind == 0:
        return _squared(across * aspect, along)
    if kind == 1:
        return np.maximum(np.abs(across) * aspect, np.abs(along))
    if kind == 2:
        return np.abs(across if rng.random() < 0.5 else along)
    if kind == 3:  # a wall or a table: all that is beyond an edge
        return (-along, across, -across)[rng.choice(3, p=(0.6, 0.2, 0.2))]
    if kind == 4:
        sides = 2 * np.pi * (np.arange(n := rng.integers(3, 7)) + rng.uniform(-0.3, 0.3, n)) / n
        return np.max([np.float32(np.cos(s)) * x + np.float32(np.sin(s)) * y for s in sides], 0)
    lumps = np.float32(rng.uniform(0.2, 0.8)) * noise_window(rng, SMOOTH)
    return _squared(across * aspect, along) * np.exp(lumps)


def _squared(x: Array, y: Array) -> Array:
    return x * x + y * y
