"""Colours for distances on a mesh, and the scale beside the picture that says what they mean."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from dualhmr.rendering.pictures import INK, blank

COLOURS = (
    (0.267, 0.005, 0.329),
    (0.275, 0.195, 0.496),
    (0.213, 0.359, 0.552),
    (0.153, 0.498, 0.558),
    (0.122, 0.632, 0.531),
    (0.290, 0.759, 0.428),
    (0.622, 0.854, 0.226),
    (0.993, 0.906, 0.144),
)
"""sRGB of the map viridis at equal steps: equal differences look equal, in grey too."""

FULL_M = 0.2
"""Metres from which on everything has the last colour."""

# As shares of the picture's height.
_WIDTH, _BAR, _TOP, _TEXT = 0.15, 0.035, 0.14, 0.034
_STEPS_CM = 5


def distance_colours(distances: ArrayLike) -> NDArray[np.float32]:
    """The colours (..., 3) in [0, 1] of distances (...) in metres."""
    metres = np.asarray(distances, np.float64)
    stops = np.linspace(0, FULL_M, len(COLOURS))
    channels = [np.interp(metres, stops, channel) for channel in np.array(COLOURS).T]
    return np.stack(channels, axis=-1).astype(np.float32)


def distance_scale(height: int) -> NDArray[np.uint8]:
    """A bar (height, W, 3) of the colours with centimetres beside it."""
    width, bar, top = (max(round(share * height), 1) for share in (_WIDTH, _BAR, _TOP))
    picture = blank(height, width)
    left, size = bar // 2, max(height - 2 * top, 1)
    metres = np.linspace(FULL_M, 0, size)
    colours = (255 * distance_colours(metres) + 0.5).astype(np.uint8)
    picture[top : top + size, left : left + bar] = colours[: height - top, None]
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(_TEXT * height, 4.0))
    full = round(100 * FULL_M)
    for centimetres in range(0, full + 1, _STEPS_CM):
        row = top + (size - 1) * (1 - centimetres / full)
        words = f"{centimetres}+" if centimetres == full else f"{centimetres}"
        drawing.text((left + 1.4 * bar, row), words, fill=INK, font=font, anchor="lm")
    drawing.text((left, top - 0.8 * bar), "cm", fill=INK, font=font, anchor="ls")
    return np.array(image)
