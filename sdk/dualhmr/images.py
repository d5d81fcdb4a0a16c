"""Users' photographs -> arrays: (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import io
import os
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from PIL import Image, ImageFile

from dualhmr.image_files import check_pixels, decode_image, decode_image_file, decoding
from dualhmr.image_files import list_images as list_images
from dualhmr.image_files import scan_folder as scan_folder

_EXIF_ORIENTATION = 0x0112
# The operation that undoes each EXIF orientation; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that exchange width and height.
_QUARTER_TURNS = (5, 6, 7, 8)


class LoadedImage(NamedTuple):
    """An upright photograph, and what had to be decided to read it."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    notes: tuple[str, ...] = ()
    """For people, e.g. that only the first of several frames is used."""
    as_passed: NDArray[np.uint8] | None = None
    """A PIL image's own pixels if its EXIF orientation may have been undone already."""
    orientation: int = 1
    """The EXIF orientation that `pixels` was turned by."""


def load_image(
    image: str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8],
    *,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """Return an image as a contiguous (H, W, 3) uint8 RGB array.

    `image` is a path, the bytes of a file, a PIL image, or a uint8 array, (H, W, 3) RGB (for
    OpenCV's BGR pass `image[..., ::-1]`) or (H, W) grey; one in the right layout is not copied.

    Files may be JPEG (MPO too), PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000, AVIF, and HEIC with the
    extra `heic`; the content counts, not the name. Of several frames or pages a file's first is
    used, of a HEIC the primary image, of a PIL image the current one. Transparent pixels are
    blended with white. Of 16 bits per channel the upper 8 are kept. Colour profiles are ignored.

    Files and PIL images are turned upright by their EXIF orientation, so keypoints must refer to
    the upright image. A PIL image that `rotate` or `transpose` returned still has the file's EXIF:
    if the sizes in it show that the image was turned already, it is not turned again; if they
    cannot show it, it is. `ImageOps.exif_transpose` or an array leaves no doubt.

    `max_pixels` is the largest width times height that is decoded, by default what Pillow does not
    refuse, twice `Image.MAX_IMAGE_PIXELS` (179 million).

    Raises FileNotFoundError for a missing file, ImportError for HEIC without pillow-heif, TypeError
    for other types and dtypes, ValueError for other shapes, files that cannot be decoded and images
    above the limit.
    """
    return read_image(image, max_pixels=max_pixels).pixels


def read_image(
    image: str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8],
    *,
    max_pixels: int | None = None,
) -> LoadedImage:
    """Return what `load_image` does, with what had to be decided on the way."""
    limit = _limit(max_pixels)
    if isinstance(image, np.ndarray):
        return LoadedImage(_from_array(image))
    if isinstance(image, Image.Image):
        return _from_pil(image, limit)
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return _from_decoded(*decode_image_file(path, limit), str(path), path.name)
    if isinstance(image, bytes):
        name = "the image"
        return _from_decoded(*decode_image(io.BytesIO(image), name, limit), name, name)
    raise TypeError(
        f"image of type {type(image).__name__}; expected a path, the bytes of a file, a PIL image "
        "or a uint8 array"
    )


def _from_decoded(decoded: Image.Image, several: bool, name: str, short: str) -> LoadedImage:
    notes = (f"{short} has several frames; one is used, the first or primary",)
    orientation = _orientation(decoded)
    pixels = _turned(_as_rgb(decoded, name), orientation)
    return LoadedImage(pixels, notes if several else (), orientation=orientation)


def _limit(max_pixels: int | None) -> int | None:
    if max_pixels is None:
        return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, Integral):
        raise TypeError(f"max_pixels is {max_pixels!r}, expected a whole number of pixels")
    if max_pixels < 1:
        raise ValueError(f"max_pixels is {max_pixels}, expected at least 1")
    return int(max_pixels)


def _from_array(image: NDArray[Any]) -> NDArray[np.uint8]:
    if np.ma.is_masked(image):
        raise ValueError("image array has masked pixels; image.filled(...) says what they are")
    if image.dtype != np.uint8:
        hint = ""
        if image.dtype.kind == "f":
            hint = "; if its values are in [0, 1], multiply by 255, round and cast"
        elif image.dtype == np.uint16:
            hint = "; (image >> 8).astype(numpy.uint8) keeps the upper 8 bits"
        raise TypeError(f"image array of dtype {image.dtype}; expected uint8{hint}")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] != 3 or image.size == 0:
        hint = ""
        if image.ndim == 3 and image.shape[-1] == 4:
            hint = "; drop its alpha with image[..., :3]"
        elif image.ndim == 3 and image.shape[0] == 3:
            hint = "; move its channels last with image.transpose(1, 2, 0)"
        raise ValueError(
            f"image array of shape {image.shape}; expected (H, W, 3) RGB or (H, W) grey{hint}"
        )
    return np.ascontiguousarray(image)


def _from_pil(image: Image.Image, limit: int | None) -> LoadedImage:
    name = "the PIL image"
    if isinstance(image, ImageFile.ImageFile):
        check_pixels(image.size, limit, name)
        # Pillow decodes these on first use, PostScript by running Ghostscript.
        if isinstance(image, ImageFile.StubImageFile) or (image.format == "EPS" and image.tile):
            raise ValueError(f"{name} is {image.format}, which is a drawing; convert it to PNG")
    with decoding(name):
        image.load()
    orientation, rgb = _orientation(image), _as_rgb(image, name)
    turned = None if isinstance(image, ImageFile.ImageFile) else _already_turned(image, orientation)
    if turned:
        return LoadedImage(np.array(rgb))
    pixels = _turned(rgb, orientation)
    # What an opened file holds is as the file has it, so its EXIF is right.
    if orientation == 1 or turned is False or isinstance(image, ImageFile.ImageFile):
        return LoadedImage(pixels, orientation=orientation)
    return LoadedImage(pixels, (), np.array(rgb), orientation)


def _turned(rgb: Image.Image, orientation: int) -> NDArray[np.uint8]:
    turn = _UPRIGHT.get(orientation)
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _already_turned(image: Image.Image, orientation: int) -> bool | None:
    """Whether a PIL image made from another one was turned since; None where that is unknown.

    EXIF has the size of the pixels in the file. Its aspect is that of the image, or the inverse
    after a quarter turn; after cropping, neither.
    """
    size = _exif_size(image)
    if orientation not in _QUARTER_TURNS or size is None:
        return None
    aspect, stored = np.log(image.width / image.height), np.log(size[0] / size[1])
    # A resized image's sides are rounded to whole pixels.
    slack = 0.01 + 0.5 / min(image.size)
    as_stored, inverse = abs(aspect - stored) < slack, abs(aspect + stored) < slack
    return None if as_stored == inverse else bool(inverse)


def _exif_size(image: Image.Image) -> tuple[int, int] | None:
    """The (width, height) in a photograph's EXIF, which stay when the image is changed."""
    try:
        exif = image.getexif()
        camera = exif.get_ifd(0x8769)
        sizes = [(camera.get(0xA002), camera.get(0xA003)), (exif.get(0x100), exif.get(0x101))]
    except Exception:  # a photograph with damaged metadata is still a photograph
        return None
    for width, height in sizes:
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return width, height
    return None


def upright_by_keypoints(
    image: LoadedImage, xy: npt.NDArray[Any], confidence: npt.NDArray[Any]
) -> tuple[NDArray[np.uint8], str | None]:
    """Decide by keypoints whether a PIL image had been turned, where nothing else can show it.

    xy (P, K, 2) in pixels, confidence (P, K). Returns the pixels, and a warning if there is doubt.
    """
    if image.as_passed is None:
        return image.pixels, None
    points = xy[(confidence > 0) & np.isfinite(xy).all(axis=-1)]
    inside_turned, inside_passed = (
        np.count_nonzero(
            ((points > -1) & (points < (pixels.shape[1], pixels.shape[0]))).all(axis=-1)
        )
        for pixels in (image.pixels, image.as_passed)
    )
    better = ", as the keypoints fit better so"
    if inside_passed > inside_turned:
        pixels, done = image.as_passed, f"it was not turned by it{better}"
    else:
        pixels, done = image.pixels, "it was turned by it"
        done += better if inside_turned > inside_passed else ""
    return pixels, (
        "the PIL image was made from another one and kept its EXIF orientation "
        f"({image.orientation}); {done}; to leave no doubt pass numpy.asarray(image), or use "
        "ImageOps.exif_transpose"
    )


def _orientation(image: Image.Image) -> int:
    """The image's EXIF orientation, 1 to 8; 1, upright, if it has none."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a photograph with damaged metadata is still a photograph
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"{name} has more than 16 bits per pixel; convert it to 8 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError(f"{name} has floating-point pixels; convert it to 8 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    straight = image.convert("LA") if image.mode == "La" else image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, straight.convert("RGBA")).convert("RGB")
