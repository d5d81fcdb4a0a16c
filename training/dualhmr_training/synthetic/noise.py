"""Noise fields with the spectra of natural pictures, made once and read at random places."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH

Array = NDArray[np.float32]

# A power of two, so that coordinates wrap around by a bit mask.
FIELD_SIZE = 512

# A field's amplitudes fall with the frequency to this power: white noise, then ever smoother ones.
# Photographs have about 1.
GRAIN = (0.0, 0.5)
ROUGH = (0.9, 1.1, 1.4)
SMOOTH = (1.8, 2.2, 2.7)
_FIELDS_EACH = 2


@lru_cache(maxsize=8)
def noise_fields(exponents: tuple[float, ...]) -> Array:
    """(K, 512, 512) periodic fields of mean 0 and standard deviation 1; always the same ones."""
    rng = np.random.default_rng([round(100 * exponent) for exponent in exponents])
    frequency = np.hypot(
        np.fft.fftfreq(FIELD_SIZE)[:, None], np.fft.rfftfreq(FIELD_SIZE)[None]
    ).clip(1 / FIELD_SIZE)
    fields = []
    for exponent in exponents * _FIELDS_EACH:
        white = rng.standard_normal((FIELD_SIZE, FIELD_SIZE))
        coloured = np.fft.irfft2(np.fft.rfft2(white) / frequency**exponent)
        coloured -= coloured.mean()
        fields.append((coloured / coloured.std()).astype(np.float32))
    return np.stack(fields)


@lru_cache(maxsize=1)
def _colour_grain() -> Array:
    """(K, 512, 512, 3) grain as in `noise_fields`, from alike in all channels to unlike."""
    rng = np.random.default_rng(0)
    grey, colour = noise_fields(GRAIN)[..., None], rng.standard_normal((FIELD_SIZE, FIELD_SIZE, 3))
    shares = np.linspace(0, 1, len(grey))[:, None, None, None]
    return (np.sqrt(1 - shares) * grey + np.sqrt(shares) * colour).astype(np.float32)


def noise_window(rng: np.random.Generator, exponents: tuple[float, ...]) -> Array:
    """A crop-sized window (256, 192) of a random field, randomly flipped; read only."""
    return _window(rng, noise_fields(exponents))


def grain_window(rng: np.random.Generator) -> Array:
    """A crop-sized window (256, 192, 3) of a camera's noise, as `noise_window`."""
    return _window(rng, _colour_grain())


def _window(rng: np.random.Generator, fields: Array) -> Array:
    field = fields[rng.integers(len(fields))]
    top = rng.integers(FIELD_SIZE - CROP_HEIGHT + 1)
    left = rng.integers(FIELD_SIZE - CROP_WIDTH + 1)
    window = field[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]
    return window[:: 1 - 2 * int(rng.integers(2))]


def noise_at(rng: np.random.Generator, exponents: tuple[float, ...], u: Array, v: Array) -> Array:
    """A random field at the coordinates `u` and `v`, of any one shape, in units of its cells."""
    fields = noise_fields(exponents)
    field = fields[rng.integers(len(fields))]
    row, column = rng.integers(FIELD_SIZE, size=2)
    rows = (u + np.float32(row)).astype(np.int32) & (FIELD_SIZE - 1)
    columns = (v + np.float32(column)).astype(np.int32) & (FIELD_SIZE - 1)
    return field.take(rows * FIELD_SIZE + columns)
