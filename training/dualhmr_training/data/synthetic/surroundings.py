"""The surroundings of synthetic people: backgrounds, occluders and other people."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.data.synthetic.degradations import resampled
from dualhmr_training.data.synthetic.textures import (
    COLUMNS,
    ROWS,
    SMOOTH,
    Array,
    noise_window,
    random_colour,
    texture,
    to_bytes,
)

_PLAIN = 0.25  # share of backgrounds without a horizon
_OUT_OF_FOCUS = 0.35  # share of blurred backgrounds


def background(rng: np.random.Generator, *, clutter: int) -> NDArray[np.uint8]:
    """An image (256, 192, 3) sRGB: a wall, often a floor, and at most `clutter` shapes."""
    picture = texture(rng)
    if rng.random() > _PLAIN:
        slope = rng.normal(0, 0.06)
        horizon = rng.uniform(0.2, 1.0) * CROP_HEIGHT + slope * (COLUMNS - CROP_WIDTH / 2)
        rows = slice(int(horizon.min().clip(0, CROP_HEIGHT - 1)), CROP_HEIGHT)
        np.copyto(picture[:, rows], texture(rng, rows), where=horizon < ROWS[rows])
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


def occluder(
    rng: np.random.Generator, visible: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Mask (256, 192) of a random shape that hides `share` of the `visible` pixels."""
    places = np.flatnonzero(visible)
    if not len(places) or share <= 0:
        return np.zeros_like(visible)
    row, column = divmod(int(rng.choice(places)), CROP_WIDTH)
    needed = _size_to_cover(rng, COLUMNS - np.float32(column), ROWS - np.float32(row))
    # The size at which the shape hides the wanted number of pixels is a quantile.
    hidden = min(len(places) - 1, round(share * len(places)))
    return needed < np.partition(needed[visible], hidden)[hidden]


def _size_to_cover(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """The size, in any unit, at which a random shape around (0, 0) covers each pixel."""
    angle = rng.normal(0, 0.4)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = cosine * x + sine * y, cosine * y - sine * x
    aspect = np.float32(np.exp(rng.normal(0, 0.5)))
    kind = rng.integers(6)
    if kind == 0:  # an ellipse
        return _squared(across * aspect, along)
    if kind == 1:  # a box
        return np.maximum(np.abs(across) * aspect, np.abs(along))
    if kind == 2:  # a bar
        return np.abs(across if rng.random() < 0.5 else along)
    if kind == 3:  # a wall or a table: all that is beyond an edge
        return (-along, across, -across)[rng.choice(3, p=(0.6, 0.2, 0.2))]
    if kind == 4:  # a polygon, as an intersection of half planes
        sides = 2 * np.pi * (np.arange(n := rng.integers(3, 7)) + rng.uniform(-0.3, 0.3, n)) / n
        return np.max([np.float32(np.cos(s)) * x + np.float32(np.sin(s)) * y for s in sides], 0)
    # A lumpy ellipse.
    lumps = np.float32(rng.uniform(0.2, 0.8)) * noise_window(rng, SMOOTH)
    return _squared(across * aspect, along) * np.exp(lumps)


def _squared(x: Array, y: Array) -> Array:
    return x * x + y * y


def is_whole(pixels: NDArray[np.intp]) -> bool:
    """Whether a person's pixels (P,), in ascending order, exist and do not touch the border."""
    if not len(pixels):
        return False
    column = pixels % CROP_WIDTH
    top, bottom = pixels[0] // CROP_WIDTH, pixels[-1] // CROP_WIDTH
    inside = column.min() > 0 and column.max() < CROP_WIDTH - 1
    return bool(inside and top > 0 and bottom < CROP_HEIGHT - 1)


def with_bystander(
    rng: np.random.Generator,
    picture: NDArray[np.uint8],
    pixels: NDArray[np.intp],
    colours: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Pastes another crop's person, pixels (P,) and colours (3, P), beside the centre.

    Most are made smaller, as if farther away.
    """
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
