"""Pictures as arrays: checks, resizing, dots and words on them, PNG files."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from dualhmr.files import atomic_path

PAPER = (247, 247, 245)
INK = (64, 66, 72)


def check_picture(picture: NDArray[np.uint8]) -> None:
    """Check that it is a picture (H, W, 3) of uint8 with at least one pixel.

    Raises:
        TypeError: another type.
        ValueError: another shape.
    """
    if picture.dtype != np.uint8:
        raise TypeError(f"a picture must be uint8, 0 to 255, got {picture.dtype}")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"a picture must be (H, W, 3) and not empty, got {picture.shape}")


def blank(height: int, width: int, *, colour: tuple[int, int, int] = PAPER) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of one sRGB colour, 0 to 255."""
    return np.full((height, width, 3), colour, np.uint8)


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the picture at another size, without aliasing."""
    smooth = Image.Resampling.LANCZOS
    return np.array(Image.fromarray(picture).resize((width, height), smooth, reducing_gap=3.0))


def draw_dots(
    picture: NDArray[np.uint8],
    points: ArrayLike,
    *,
    radius: float,
    colour: tuple[int, int, int],
    rim: bool = True,
) -> None:
    """Draw smooth dots, in place.

    Args:
        picture: (H, W, 3).
        points: (K, 2) pixels. Those that are not finite or lie outside are left out.
        radius: pixels, rim included.
        colour: sRGB, 0 to 255.
        rim: whether a white rim takes up the outer third of the radius.
    """
    layers = ((radius, (255, 255, 255)), (0.68 * radius, colour)) if rim else ((radius, colour),)
    height, width = picture.shape[:2]
    reach = int(np.ceil(radius)) + 1
    for x, y in np.asarray(points, np.float64).reshape(-1, 2):
        if not (-reach <= x < width + reach and -reach <= y < height + reach):
            continue
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        patch = picture[top : max(round(y) + reach + 1, 0), left : max(round(x) + reach + 1, 0)]
        rows, columns = np.ogrid[: patch.shape[0], : patch.shape[1]]
        distance = np.hypot(columns + left - x, rows + top - y)[..., None]
        mixed = patch.astype(np.float64)
        for size, tint in layers:
            inside = np.clip(size + 0.5 - distance, 0.0, 1.0)
            mixed += inside * (np.array(tint) - mixed)
        patch[:] = (mixed + 0.5).astype(np.uint8)


def write_words(picture: NDArray[np.uint8], words: str) -> NDArray[np.uint8]:
    """Return the picture with words in its middle, as large as its height allows."""
    image = Image.fromarray(picture)
    size = max(0.62 * image.height, 6.0)
    drawing = ImageDraw.Draw(image)
    width = drawing.textlength(words, font=ImageFont.load_default(size))
    font = ImageFont.load_default(max(min(size, 0.94 * size * image.width / max(width, 1)), 4.0))
    middle = (image.width / 2, image.height / 2)
    drawing.text(middle, words, fill=INK, font=font, anchor="mm")
    return np.array(image)


def with_words(picture: NDArray[np.uint8], words: str, line_height: float) -> NDArray[np.uint8]:
    """Return the picture with a line of words below it, at least 8 pixels high."""
    line = blank(max(round(line_height), 8), picture.shape[1])
    return np.concatenate([picture, write_words(line, words)])


def write_png(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) as a PNG file, whole or not at all.

    Raises:
        ValueError: the name does not end in .png, or the picture's shape is wrong.
        TypeError: the picture is not of uint8.
        FileNotFoundError: the folder does not exist.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"a PNG file's name ends in .png, got {os.fspath(path)!r}")
    check_picture(picture)
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
