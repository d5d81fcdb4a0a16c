"""What is around synthetic people in a picture: backgrounds, occluders and other people."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.data.synthetic.degradations import resampled
from dualhmr_training.data.synthetic.textures import (
    SMOOTH,
    noise_window,
    random_colour,
    texture,
    to_bytes,
)

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


Array = NDArray[np.float32]

_GRID_ROWS, _GRID_COLUMNS = np.mgrid[:CROP_HEIGHT, :CROP_WIDTH].astype(np.float32)


def occluder(
    rng: np.random.Generator, visible: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Pixels (256, 192) of one random shape that hides `share` of the `visible` pixels."""
    places = np.flatnonzero(visible)
    if not len(places) or share <= 0:
        return np.zeros_like(visible)
    row, column = divmod(int(rng.choice(places)), CROP_WIDTH)
    reach = _reach(rng, _GRID_COLUMNS - np.float32(column), _GRID_ROWS - np.float32(row))
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
