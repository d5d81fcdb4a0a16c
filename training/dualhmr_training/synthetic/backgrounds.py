"""What is behind synthetic people: ground and wall or sky, cluttered with shapes."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.synthetic.degradations import resampled
from dualhmr_training.synthetic.textures import random_colour, texture, to_bytes

_PLAIN = 0.25
_OUT_OF_FOCUS = 0.35
_COLUMNS = np.arange(CROP_WIDTH, dtype=np.float32)
_ROWS = np.arange(CROP_HEIGHT, dtype=np.float32)[:, None]


def background(rng: np.random.Generator, *, clutter: int) -> NDArray[np.uint8]:
    """A picture (256, 192, 3) sRGB with at most `clutter` shapes."""
    picture = texture(rng)
    if rng.random() > _PLAIN:
        slope = rng.normal(0, 0.06)
        horizon = rng.uniform(0.2, 1.0) * CROP_HEIGHT + slope * (_COLUMNS - CROP_WIDTH / 2)
        rows = slice(int(horizon.min().clip(0, CROP_HEIGHT - 1)), CROP_HEIGHT)
        np.copyto(picture[:, rows], texture(rng, rows), where=horizon < _ROWS[rows])
    image = Image.merge("RGB", [Image.fromarray(channel) for channel in to_bytes(picture)])
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(clutter + 1)):
        _draw_shape(rng, draw)
    if rng.random() < _OUT_OF_FOCUS:
        image = resampled(image, rng.uniform(1.5, 8.0))
    return np.array(image)


def _draw_shape(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """One rectangle, ellipse, polygon or line, flat or outlined."""
    x, y = rng.uniform(-0.1, 1.1, 2) * (CROP_WIDTH, CROP_HEIGHT)
    width, height = np.exp(rng.normal(0, 0.8, 2)) * 28
    colour = tuple(to_bytes(random_colour(rng)).tolist())
    line = int(rng.integers(1, 7))
    fill = colour if rng.random() < 0.7 else None
    box = (x - width, y - height, x + width, y + height)
    kind = rng.integers(4)
    if kind == 0:
        draw.rectangle(box, fill, colour, width=line)
    elif kind == 1:
        draw.ellipse(box, fill, colour, width=line)
    elif kind == 2:
        corners = (x, y) + rng.normal(0, 1, (rng.integers(3, 7), 2)) * (width, height)
        draw.polygon([*map(tuple, corners.tolist())], fill, colour)
    else:
        draw.line((*box[:2], *(rng.random(2) * (CROP_WIDTH, CROP_HEIGHT))), colour, line)
