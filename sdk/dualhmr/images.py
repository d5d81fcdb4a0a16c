"""Users' photographs -> arrays: (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

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


def load_image(
    image: str | os.PathLike[str] | Image.Image | NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return an image as a contiguous (H, W, 3) uint8 RGB array.

    `image` is a path, a PIL image, or a uint8 array, (H, W, 3) RGB (for OpenCV's BGR pass
    `image[..., ::-1]`) or (H, W) grey; an array in the right layout is not copied.

    Files and PIL images are turned upright by their EXIF orientation, so keypoints must refer to
    the upright image. Transparent pixels are blended with white. Of 16 bits per channel the upper 8
    are kept. Of several frames the current one is used, a file's first. Colour profiles are
    ignored.

    Raises FileNotFoundError for a missing file, TypeError for other types and dtypes, ValueError
    for other shapes, files that cannot be decoded and images above Pillow's pixel limit.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, str | os.PathLike):
        return _from_file(Path(image))
    raise TypeError(
        f"image of type {type(image).__name__}; expected a path, a PIL image or a uint8 array"
    )


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files in a folder with one of `IMAGE_SUFFIXES`, sorted, without hidden ones.

    Raises FileNotFoundError for a missing folder or one without images, ValueError for a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"image folder {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and path.name[0] != "."
    )
    if not images:
        raise FileNotFoundError(f"no images in {folder}: no {', '.join(IMAGE_SUFFIXES)}")
    return images


def _from_array(image: NDArray[Any]) -> NDArray[np.uint8]:
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


def _from_file(path: Path) -> NDArray[np.uint8]:
    if not path.exists():
        raise FileNotFoundError(f"image file {path} does not exist")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an image; list_images finds the images in it")
    with _decoding(str(path)), Image.open(path) as image:
        # Pillow only warns between its limit and twice that.
        limit, pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
        if limit is not None and pixels > limit:
            raise Image.DecompressionBombError(f"Image size ({pixels} pixels).")
        image.load()
    return _upright_rgb(image, str(path))


def _from_pil(image: Image.Image) -> NDArray[np.uint8]:
    with _decoding("the PIL image"):
        image.load()
    return _upright_rgb(image, "the PIL image")


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn what Pillow raises into errors that name the image."""
    try:
        yield
    # The warning is an error only if the user turned warnings into errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise ValueError(
            f"{name} is too large: {error} PIL.Image.MAX_IMAGE_PIXELS is {limit}; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image in a format that Pillow knows") from error
    except PermissionError:
        raise
    except Exception as error:  # Pillow's decoders raise many types
        raise ValueError(
            f"{name} cannot be decoded; it is damaged or cut short ({error})"
        ) from error


def _upright_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    rgb, turn = _as_rgb(image, name), _UPRIGHT.get(_orientation(image))
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a photograph with damaged metadata is still a photograph
        return 1
    return orientation if isinstance(orientation, int) else 1


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
