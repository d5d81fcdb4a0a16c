"""Image files: which ones are read, what else a folder of photographs holds, decoding them.

A file's format is known by its first bytes, and only the decoder of that format sees the file.
Pillow's own search would try all its formats: PostScript in a file named photo.jpg would start
Ghostscript.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from PIL import Image

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Of the formats that are read. A file with one of them is a photograph, whatever it contains."""

# The formats that are read, and the module of Pillow with the decoder. Pillow opens an MPO (the
# JPEG of many phones and of stereo cameras) as a JPEG.
_PLUGINS = {
    "AVIF": "AvifImagePlugin",
    "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "JPEG": "JpegImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "PNG": "PngImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}
_HEIF = "HEIF"

PHOTOGRAPH, VIDEO = "a photograph", "a video"
_RAW = "a raw photograph of a camera"
_RAW_SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc",
    ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2",
    ".srf", ".srw", ".x3f",
}  # fmt: skip
_VIDEO_SUFFIXES = {
    ".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv",
}  # fmt: skip
_UNREAD_SUFFIXES = {
    ".bpg", ".cur", ".dds", ".emf", ".eps", ".exr", ".fits", ".flif", ".hdr", ".icns", ".ico",
    ".jls", ".jxl", ".jxr", ".pcx", ".psb", ".psd", ".qoi", ".sgi", ".svg", ".svgz", ".tga", ".wdp",
    ".wmf", ".xcf",
}  # fmt: skip
# First bytes of other pictures and videos, and of what else may have the name of a photograph.
_OTHER_PICTURES = (
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (
        rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg[\s/>]",
        "an SVG drawing",
    ),
    (rb"....ftypcrx |FUJIFILMCCD|II(RO|RS|U)\0", _RAW),
    (rb"....ftyp|....moov|\x1aE\xdf\xa3|RIFF....AVI ", VIDEO),
)
_OTHER_FILES = (
    (rb"%PDF", "a PDF"),
    (rb"\s*<(!doctype )?html", "a web page"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file with git lfs pull"),
)
_HEAD_BYTES = 512


class Folder(NamedTuple):
    """What is in a folder of photographs."""

    images: list[Path]
    """The files to read, sorted, without hidden ones."""
    unread: dict[Path, str]
    """Pictures and videos that are not read, and what they are."""


def scan_folder(folder: str | os.PathLike[str]) -> Folder:
    """Return the photographs in a folder, and its pictures and videos that are not read.

    A file is a photograph by its content or by one of `IMAGE_SUFFIXES`.
    Raises FileNotFoundError for a missing folder, ValueError for a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"image folder {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    images, unread = [], {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        what = kind_of_file(path)
        if what == PHOTOGRAPH:
            images.append(path)
        elif what is not None:
            unread[path] = what
    return Folder(images, unread)


def kind_of_file(path: Path) -> str | None:
    """`PHOTOGRAPH`, by its content or suffix, `VIDEO`, another kind of picture, or None."""
    head, suffix = _head(path), path.suffix.lower()
    name = image_format(head)
    if suffix in _RAW_SUFFIXES and name in (None, "TIFF"):
        return _RAW
    if name or suffix in IMAGE_SUFFIXES:
        return PHOTOGRAPH
    return _content(head, _OTHER_PICTURES) or _by_suffix(suffix)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the photographs in a folder: `scan_folder(folder).images`.

    Raises FileNotFoundError also for a folder without any.
    """
    images, unread = scan_folder(folder)
    if not images:
        others = "; ".join(f"{path.name} is {what}" for path, what in list(unread.items())[:5])
        raise FileNotFoundError(
            f"no images in {folder}: no {', '.join(IMAGE_SUFFIXES)}{others and f'; {others}'}"
        )
    return images


def image_format(head: bytes) -> str | None:
    """The format that an image file of these first bytes (32 or more) has, if it is read."""
    if head[4:8] == b"ftyp":
        return _iso_media_format(head)
    for pattern, name in _SIGNATURES:
        if pattern.match(head):
            return name
    return None


_SIGNATURES = [
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"RIFF....WEBP", "WEBP"),
        (rb"II[*+]\0|MM\0[*+]", "TIFF"),
        (rb"GIF8[79]a", "GIF"),
        # With the sizes that the second header can have; text may begin with BM too.
        (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
        (rb"P[1-6]\s+(\d|#)", "PPM"),
        (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    )
]


def _iso_media_format(head: bytes) -> str | None:
    """AVIF or HEIF, by the brands in the first box; videos have others."""
    size = min(max(int.from_bytes(head[:4], "big"), 12), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, size - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    heif = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"}
    return _HEIF if brands & heif else None


def _by_suffix(suffix: str) -> str | None:
    if suffix in _VIDEO_SUFFIXES:
        return VIDEO
    return f"a {suffix} file" if suffix in _UNREAD_SUFFIXES else None


def _content(head: bytes, patterns: Iterable[tuple[bytes, str]]) -> str | None:
    matches = (what for pattern, what in patterns if re.match(pattern, head, re.DOTALL | re.I))
    return next(matches, None)


def _head(path: Path) -> bytes:
    """The first bytes; none of a file that cannot be read, which fails when it is decoded."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def decode_image_file(path: Path, max_pixels: int | None) -> tuple[Image.Image, bool]:
    """Decode an image of one of the formats above; also return whether it has several frames.

    Raises FileNotFoundError and PermissionError, ImportError for HEIC without pillow-heif, and
    ValueError, which names the file, for other content, raw photographs, damage and more pixels
    than `max_pixels`.
    """
    if not path.exists():
        raise FileNotFoundError(f"image file {path} does not exist")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an image; list_images finds the images in it")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file, so it cannot be decoded as an image")
    with path.open("rb") as file:
        return decode_image(file, str(path), max_pixels)


def decode_image(file: IO[bytes], name: str, max_pixels: int | None) -> tuple[Image.Image, bool]:
    """The same for an open file or the bytes of one, which errors call `name`."""
    head = file.read(_HEAD_BYTES)
    kind = image_format(head)
    if kind is None:
        what = _content(head, (*_OTHER_PICTURES, *_OTHER_FILES)) or (None if head else "empty")
        hint = f"it is {what}" if what else f"read are {', '.join(_PLUGINS)} and HEIC"
        raise ImageFormatError(f"{name} is not an image in a format that is read: {hint}")
    file.seek(0)
    if kind == _HEIF:
        return _decode_heif(file, name, max_pixels)
    # Pillow's Image.open would warn above MAX_IMAGE_PIXELS, and refuse above twice that.
    opener = _pillow_opener(kind, name)
    with decoding(name):
        image = opener(file, name)
    with image:
        check_pixels(image.size, max_pixels, name)
        if kind == "TIFF":
            _check_not_raw(image, name, head)
        with decoding(name):
            several = bool(getattr(image, "is_animated", False))
            image.load()
    return image, several


class ImageFormatError(ValueError):
    """The content is no image in a format that is read."""


class ImageSizeError(ValueError):
    """The image has too many pixels."""


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a ValueError that names the image."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many types
        message = str(error)[:200]
        raise ValueError(
            f"{name} cannot be decoded; it is damaged or cut short ({message})"
        ) from error


def _pillow_opener(kind: str, name: str) -> Any:
    with contextlib.suppress(ImportError):
        importlib.import_module(f"PIL.{_PLUGINS[kind]}")
    if kind not in Image.OPEN:
        raise ImportError(f"{name} is an {kind} image; to read it, install a newer Pillow")
    return Image.OPEN[kind][0]


def check_pixels(size: tuple[int, int], max_pixels: int | None, name: str) -> None:
    """Raise ValueError for an image of more than `max_pixels`; None is no limit."""
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise ImageSizeError(
            f"{name} is too large: {width}x{height} are {width * height} pixels, the limit is "
            f"{max_pixels}; make it smaller, or raise max_pixels (--max-pixels)"
        )


def _decode_heif(file: IO[bytes], name: str, max_pixels: int | None) -> tuple[Image.Image, bool]:
    """The primary image, upright, decoded by pillow-heif without registering it with Pillow."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError(
            f'{name} is a HEIC image; to read it, pip install "dualhmr[heic]"'
        ) from error
    with decoding(name):
        image = pillow_heif.open_heif(file)
    check_pixels(image.size, max_pixels, name)
    with decoding(name):
        return image.to_pillow(), len(image) > 1


def _check_not_raw(image: Image.Image, name: str, head: bytes) -> None:
    """Raise ValueError for a raw photograph, many of which are TIFF files too.

    Their first image is a thumbnail, or the sensor's values without colours.
    """
    tags: dict[int, object] = dict(getattr(image, "tag_v2", {}))
    subfile, photometric = tags.get(0xFE, 0), tags.get(0x106)
    dng = 0xC612 in tags
    thumbnail = isinstance(subfile, int) and bool(subfile & 1)
    sensor = photometric in (32803, 34892)  # colour filter array, linear raw
    if (
        dng
        or thumbnail
        or sensor
        or head[8:10] == b"CR"
        or Path(name).suffix.lower() in _RAW_SUFFIXES
    ):
        raise ImageFormatError(f"{name} is {_RAW}; develop it to JPEG or TIFF first")
