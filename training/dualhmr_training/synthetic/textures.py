"""Random colours, and random patterns over any surface."""

import colorsys

import numpy as np
from numpy.typing import NDArray

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.synthetic.noise import GRAIN, ROUGH, SMOOTH, noise_at, noise_window

Array = NDArray[np.float32]

_GREYS = 0.3
_PATTERNED = 0.3
_ALL_ROWS = slice(CROP_HEIGHT)
_ROWS = np.arange(CROP_HEIGHT, dtype=np.float32)[:, None]
_COLUMNS = np.arange(CROP_WIDTH, dtype=np.float32)


def random_colour(rng: np.random.Generator, *, greys: float = _GREYS) -> Array:
    """(3,) sRGB in [0, 1]; a share of `greys` has next to no hue."""
    saturation = rng.beta(1.5, 1.9) * (0.15 if rng.random() < greys else 1.0)
    value = 0.06 + 0.92 * rng.beta(1.3, 1.3)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32)


def pattern(rng: np.random.Generator, u: Array, v: Array, period: float) -> Array:
    """Stripes, checks, plaid, dots or blotches: in [0, 1], of the shape of the coordinates.

    `period` is in the unit of `u` and `v`.
    """
    kind, width = rng.integers(6), np.float32(rng.uniform(0.15, 0.85))
    if kind == 0:
        marks = _phase(u, period) < width
    elif kind == 1:
        marks = _phase(v, period) < width
    elif kind == 2:
        marks = (_phase(u, period) < width) ^ (_phase(v, period) < width)
    elif kind == 3:
        across, along = _phase(u, period) < width, _phase(v, period) < width
        return (across.astype(np.float32) + along) / 2
    elif kind == 4:
        marks = (_phase(u, period) - 0.5) ** 2 + (_phase(v, period) - 0.5) ** 2 < width**2 / 4
    else:
        cells = np.float32(40 / period)
        marks = noise_at(rng, ROUGH, u * cells, v * cells) > width - 0.5
    return marks.astype(np.float32)


def _phase(coordinate: Array, period: float) -> Array:
    """Where in its period a coordinate is, in [0, 1)."""
    phase = coordinate * np.float32(1 / period)
    phase -= np.floor(phase)
    return phase


def texture(rng: np.random.Generator, rows: slice = _ALL_ROWS) -> Array:
    """Rows of a picture (3, 256, 192) sRGB, about [0, 1], of one material under uneven light.

    Channels come first here because that is several times as fast.
    """
    first, second = random_colour(rng), random_colour(rng)
    contrast = np.float32(rng.random() ** 2 * rng.uniform(0.1, 0.5))
    picture = (second - first)[:, None, None] * (contrast * noise_window(rng, SMOOTH)[rows])
    picture += (first + second)[:, None, None] / 2
    if rng.random() < _PATTERNED:
        u, v = _turned_grid(rng.uniform(0, np.pi), rows)
        marks = pattern(rng, u, v, rng.uniform(6, 60)) * np.float32(rng.uniform(0.1, 1.0))
        picture += (random_colour(rng)[:, None, None] - picture) * marks
    picture *= _light(rng, rows)
    return picture


def to_bytes(picture: Array) -> NDArray[np.uint8]:
    """Colours, about [0, 1], as bytes."""
    scaled = picture * np.float32(255)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _light(rng: np.random.Generator, rows: slice) -> Array:
    """Rows of (256, 192) about 1: a gradient, roughness, and a fine grain."""
    across, down = rng.normal(0, 0.2, 2).astype(np.float32) / CROP_HEIGHT
    light = np.float32(rng.uniform(0, 0.4) ** 1.5) * noise_window(rng, ROUGH)[rows]
    light += np.float32(0.06 * rng.random() ** 2) * noise_window(rng, GRAIN)[rows]
    light += across * _COLUMNS
    light += 1 + down * _ROWS[rows]
    return light


def _turned_grid(angle: float, rows: slice) -> tuple[Array, Array]:
    """Rows of the pixel coordinates (256, 192), turned by an angle."""
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    down = _ROWS[rows]
    return cosine * _COLUMNS + sine * down, cosine * down - sine * _COLUMNS
