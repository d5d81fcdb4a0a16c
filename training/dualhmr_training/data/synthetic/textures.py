"""Materials of synthetic images: noise with the spectra of photographs, colours and patterns.

Noise fields are computed once and read at random places, because rendering has to keep up with
training.
"""

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH

Array = NDArray[np.float32]

_FIELD_SIZE = 512  # a power of two, so that a bit mask wraps coordinates around

# Exponents: amplitudes of a field fall as 1 / frequency^exponent. 0 is white noise, photographs
# have about 1, larger ones are smoother.
GRAIN = (0.0, 0.5)
ROUGH = (0.9, 1.1, 1.4)
SMOOTH = (1.8, 2.2, 2.7)
_FIELDS_EACH = 2

_GREYS = 0.3  # share of colours with almost no hue
_PATTERNED = 0.3  # share of materials with a pattern
_ALL_ROWS = slice(CROP_HEIGHT)
ROWS = np.arange(CROP_HEIGHT, dtype=np.float32)[:, None]
COLUMNS = np.arange(CROP_WIDTH, dtype=np.float32)
"""Pixel coordinates of a crop: (256, 1) and (192,), which broadcast to (256, 192)."""


@lru_cache(maxsize=8)
def noise_fields(exponents: tuple[float, ...]) -> Array:
    """(K, 512, 512) periodic fields, mean 0, standard deviation 1, the same in every process."""
    rng = np.random.default_rng([round(100 * exponent) for exponent in exponents])
    frequency = np.hypot(
        np.fft.fftfreq(_FIELD_SIZE)[:, None], np.fft.rfftfreq(_FIELD_SIZE)[None]
    ).clip(1 / _FIELD_SIZE)
    fields = []
    for exponent in exponents * _FIELDS_EACH:
        white = rng.standard_normal((_FIELD_SIZE, _FIELD_SIZE))
        coloured = np.fft.irfft2(np.fft.rfft2(white) / frequency**exponent)
        coloured -= coloured.mean()
        fields.append((coloured / coloured.std()).astype(np.float32))
    return np.stack(fields)


@lru_cache(maxsize=1)
def _colour_grain() -> Array:
    """(K, 512, 512, 3) grain, from the same noise in all channels to independent noise."""
    rng = np.random.default_rng(0)
    grey, colour = (
        noise_fields(GRAIN)[..., None],
        rng.standard_normal((_FIELD_SIZE, _FIELD_SIZE, 3)),
    )
    shares = np.linspace(0, 1, len(grey))[:, None, None, None]
    return (np.sqrt(1 - shares) * grey + np.sqrt(shares) * colour).astype(np.float32)


def noise_window(rng: np.random.Generator, exponents: tuple[float, ...]) -> Array:
    """A random window (256, 192) of a random field, maybe flipped: a view, do not write to it."""
    return _window(rng, noise_fields(exponents))


def grain_window(rng: np.random.Generator) -> Array:
    """A random window (256, 192, 3) of a camera's noise, as in `noise_window`."""
    return _window(rng, _colour_grain())


def _window(rng: np.random.Generator, fields: Array) -> Array:
    field = fields[rng.integers(len(fields))]
    top = rng.integers(_FIELD_SIZE - CROP_HEIGHT + 1)
    left = rng.integers(_FIELD_SIZE - CROP_WIDTH + 1)
    window = field[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]
    return window[:: 1 - 2 * int(rng.integers(2))]


def noise_at(rng: np.random.Generator, exponents: tuple[float, ...], u: Array, v: Array) -> Array:
    """Values of a random field at coordinates `u` and `v`, of the same shape, in field cells."""
    fields = noise_fields(exponents)
    field = fields[rng.integers(len(fields))]
    row, column = rng.integers(_FIELD_SIZE, size=2)
    rows = (u + np.float32(row)).astype(np.int32) & (_FIELD_SIZE - 1)
    columns = (v + np.float32(column)).astype(np.int32) & (_FIELD_SIZE - 1)
    return field.take(rows * _FIELD_SIZE + columns)


def random_colour(rng: np.random.Generator, *, greys: float = _GREYS) -> Array:
    """(3,) sRGB in [0, 1]; with probability `greys` it has almost no hue."""
    saturation = rng.beta(1.5, 1.9) * (0.15 if rng.random() < greys else 1.0)
    value = 0.06 + 0.92 * rng.beta(1.3, 1.3)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32)


def pattern(rng: np.random.Generator, u: Array, v: Array, period: float) -> Array:
    """Stripes, checks, plaid, dots or blotches at coordinates `u` and `v`, values in [0, 1].

    `period` is in the unit of the coordinates.
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
    """The fractional part of `coordinate / period`."""
    phase = coordinate * np.float32(1 / period)
    phase -= np.floor(phase)
    return phase


def texture(rng: np.random.Generator, rows: slice = _ALL_ROWS) -> Array:
    """Some rows of an image (3, 256, 192), sRGB about [0, 1], of one material in uneven light.

    Channels come first because NumPy is several times as fast with long last axes.
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
    """Colours in about [0, 1] -> uint8."""
    scaled = picture * np.float32(255)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _light(rng: np.random.Generator, rows: slice) -> Array:
    """Some rows of brightness (256, 192), about 1: a gradient, roughness and fine grain."""
    across, down = rng.normal(0, 0.2, 2).astype(np.float32) / CROP_HEIGHT
    light = np.float32(rng.uniform(0, 0.4) ** 1.5) * noise_window(rng, ROUGH)[rows]
    light += np.float32(0.06 * rng.random() ** 2) * noise_window(rng, GRAIN)[rows]
    light += across * COLUMNS
    light += 1 + down * ROWS[rows]
    return light


def _turned_grid(angle: float, rows: slice) -> tuple[Array, Array]:
    """Some rows of the crop's pixel coordinates (256, 192), turned by an angle."""
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    down = ROWS[rows]
    return cosine * COLUMNS + sine * down, cosine * down - sine * COLUMNS
