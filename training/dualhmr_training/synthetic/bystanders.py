"""Other people behind synthetic people: those of the same batch, at another place and size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH


def is_whole(pixels: NDArray[np.intp]) -> bool:
    """Whether there are pixels (P,), in order, and they stay clear of the crop's border."""
    if not len(pixels):
        return False
    column = pixels % CROP_WIDTH
    clear_of_sides = column.min() > 0 and column.max() < CROP_WIDTH - 1
    top, bottom = pixels[0] // CROP_WIDTH, pixels[-1] // CROP_WIDTH
    return bool(clear_of_sides and top > 0 and bottom < CROP_HEIGHT - 1)


def with_bystander(
    rng: np.random.Generator,
    picture: NDArray[np.uint8],
    pixels: NDArray[np.intp],
    colours: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Another crop's person, pixels (P,) and colours (3, P), moved aside and mostly smaller."""
    cut_out = np.zeros((CROP_HEIGHT, CROP_WIDTH, 4), np.uint8)
    for channel, values in enumerate([*colours, 255]):
        cut_out.reshape(-1)[channel::4][pixels] = values
    scale = np.exp(rng.uniform(-1.2, 0.2))
    size = (round(CROP_WIDTH * scale), round(CROP_HEIGHT * scale))
    layer = Image.fromarray(cut_out).resize(size, Image.Resampling.NEAREST)
    if rng.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    aside = rng.choice((-1, 1)) * rng.uniform(0.25, 0.6)
    left = round(CROP_WIDTH * (0.5 + aside) - size[0] / 2)
    top = round(CROP_HEIGHT * rng.uniform(0.35, 0.65) - size[1] / 2)
    image = Image.fromarray(picture)
    image.paste(layer, (left, top), layer)
    return np.array(image)
