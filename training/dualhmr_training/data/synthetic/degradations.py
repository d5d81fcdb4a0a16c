"""Appearance of synthetic images as configuration, and the faults of a camera."""

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.data.synthetic.textures import grain_window


@dataclass(frozen=True)
class Degradation:
    """Faults of the camera: shares of all images, and the largest levels that are drawn."""

    few_pixels: float = 0.3
    """Share of images enlarged from fewer pixels."""
    enlarged: float = 5.0
    """Their largest factor; small ones are more frequent."""
    noisy: float = 0.6
    """Share of images with noise."""
    noise: float = 14.0
    """Its largest standard deviation, of 255; small ones are more frequent."""
    colour: float = 0.25
    """Largest change of exposure, contrast and white balance, as a fraction."""
    grey: float = 0.04
    """Share of images without colour."""
    jpeg: float = 0.25
    """Share of images compressed as JPEG."""
    jpeg_quality: tuple[int, int] = (20, 80)


@dataclass(frozen=True)
class Appearance:
    """Background, clothes and camera of synthetic people."""

    clutter: int = 10
    """The most shapes in a background."""
    bystander: float = 0.25
    """Share of images with another person behind: one whose own crop shows them completely."""
    occluded: float = 0.35
    """Share of people with something in front of them."""
    max_hidden: float = 0.6
    """An occluder hides a uniform share of the person's pixels, up to this."""
    degradation: Degradation = field(default_factory=Degradation)


# Range of the middle of the blur kernel [1, m, 1]. There is always a little blur, because outlines
# from the z-buffer are jagged and those in photographs are not.
_SHARPNESS = (2, 8)


def degrade(
    rng: np.random.Generator, picture: NDArray[np.uint8], levels: Degradation
) -> NDArray[np.uint8]:
    """The image (256, 192, 3) with a random selection of faults."""
    image = Image.fromarray(picture)
    if rng.random() < levels.few_pixels:
        image = resampled(image, 1 + (levels.enlarged - 1) * rng.random() ** 2)
    if rng.random() < levels.grey:
        image = image.convert("L").convert("RGB")
    # Rows of bytes, channels in turn: NumPy is slow where the last axis is of length three.
    values = np.asarray(image).reshape(CROP_HEIGHT, -1)
    middle = int(rng.integers(*_SHARPNESS, endpoint=True))
    gain, offset = _tones(rng, levels.colour)
    degraded = _blurred(values, middle) * np.tile(gain / (middle + 2) ** 2, CROP_WIDTH)
    degraded += np.tile(offset, CROP_WIDTH)
    if rng.random() < levels.noisy:
        noise = np.float32(levels.noise * rng.random() ** 2) * grain_window(rng)
        degraded += noise.reshape(CROP_HEIGHT, -1)
    result = np.clip(degraded, 0, 255, out=degraded).astype(np.uint8).reshape(picture.shape)
    if rng.random() < levels.jpeg:
        quality = rng.integers(*levels.jpeg_quality, endpoint=True)
        result = _compressed(result, int(quality))
    return result


def resampled(image: Image.Image, reduction: float) -> Image.Image:
    """A crop reduced by a factor and enlarged again: out of focus, or from few pixels."""
    small = (max(1, round(CROP_WIDTH / reduction)), max(1, round(CROP_HEIGHT / reduction)))
    linear = Image.Resampling.BILINEAR
    return image.resize(small, linear, reducing_gap=1.0).resize((CROP_WIDTH, CROP_HEIGHT), linear)


def _tones(rng: np.random.Generator, level: float) -> tuple[NDArray[np.float32], ...]:
    """Gain and offset (3,) for values of 0 to 255: contrast, exposure, white balance."""
    contrast, exposure, *balance = 1 + level * rng.uniform(-1, 1, 5) * (1, 1, 0.3, 0.3, 0.3)
    gain = np.array(balance, np.float32) * np.float32(exposure)
    return gain * np.float32(contrast), gain * np.float32(127.5 * (1 - contrast))


def _blurred(values: NDArray[np.uint8], middle: int) -> NDArray[np.uint16]:
    """Rows (256, 192 * 3) convolved with [1, middle, 1] in both directions; the border stays sharp.

    The result is (middle + 2)^2 times as bright. With integers this takes a tenth of the time of
    Pillow's filters.
    """
    blurred = values.astype(np.uint16)
    inside = blurred[:, 3:-3] * middle + blurred[:, :-6] + blurred[:, 6:]
    blurred *= (middle + 2) ** 2
    blurred[1:-1, 3:-3] = inside[1:-1] * middle + inside[:-2] + inside[2:]
    return blurred


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"]))
