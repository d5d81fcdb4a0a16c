"""Damaged image files: `load_image` returns an image or raises a ValueError that names the file.

`pytest tests/fuzz --fuzz-count 3000` tries more inputs than CI does.
"""

import io
import resource
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualhmr.images import load_image

IN_CI = 600
MAX_PIXELS = 1_000_000
MEMORY_MB = 400
"""Growth of the process's peak; images of MAX_PIXELS take 10 MB, two canvases of WebP 2 x 4 bytes
a pixel of what the header says."""

Mutation = Callable[[bytearray, np.random.Generator], None]


def valid_files() -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.arange(24), 3 * np.arange(32))[..., None] + [0, 40, 90]
    photo = Image.fromarray((smooth + rng.integers(0, 9, smooth.shape)).astype(np.uint8))
    tags = Image.Exif()
    tags[0x0112], tags[0x8769] = 6, {0xA002: 32}
    exif = tags.tobytes()
    more = {"save_all": True, "append_images": [photo.rotate(90)]}
    made = {
        "jpeg": ("JPEG", photo, {"exif": exif}),
        "progressive": ("JPEG", photo, {"progressive": True}),
        "cmyk": ("JPEG", photo.convert("CMYK"), {}),
        "mpo": ("MPO", photo, more),
        "png": ("PNG", photo, {"exif": exif}),
        "apng": ("PNG", photo, more),
        "palette": ("PNG", photo.quantize(16), {"transparency": 3}),
        "deep": ("PNG", Image.fromarray(smooth[..., 0].astype(np.uint16) << 8), {}),
        "webp": ("WEBP", photo, {"exif": exif}),
        "lossless": ("WEBP", photo.convert("RGBA"), {"lossless": True}),
        "animated": ("WEBP", photo, more),
        "tiff": ("TIFF", photo, {"exif": exif}),
        "lzw": ("TIFF", photo, {"compression": "tiff_lzw"}),
        "pages": ("TIFF", photo, {**more, "compression": "tiff_deflate"}),
        "fax": ("TIFF", photo.convert("1"), {"compression": "group4"}),
        "bmp": ("BMP", photo, {}),
        "gif": ("GIF", photo, more),
        "ppm": ("PPM", photo, {}),
        "jp2": ("JPEG2000", photo, {}),
    }
    Image.init()
    if "AVIF" in Image.SAVE:
        made["avif"] = ("AVIF", photo, {"exif": exif})
    files = {}
    for name, (kind, picture, options) in made.items():
        file = io.BytesIO()
        # Pillow leaves settings of a format in the picture that it saved.
        if "append_images" in options:
            options = {**options, "append_images": [photo.rotate(90)]}
        picture.copy().save(file, kind, **options)
        files[name] = file.getvalue()
    try:
        import pillow_heif
    except ImportError:
        return files
    file = io.BytesIO()
    pillow_heif.from_pillow(photo).save(file, exif=exif)
    return {**files, "heic": file.getvalue()}


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)


def flip_bits_of_the_header(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(min(len(data), 64))] ^= 1 << rng.integers(8)


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data)) :]


def overwrite_a_number(data: bytearray, rng: np.random.Generator) -> None:
    """Sizes, counts and offsets that lie."""
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1]))
    number = struct.pack(str(rng.choice(["<I", ">I"])), value)[: rng.choice([2, 4])]
    start = int(rng.integers(min(len(data), 256 if rng.random() < 0.7 else len(data))))
    data[start : start + len(number)] = number


def remove_or_repeat(data: bytearray, rng: np.random.Generator) -> None:
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
    data[start : start + length] = data[start : start + length] * int(rng.choice([0, 2, 9]))


def random_bytes(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(8, 40))
    data[start:] = rng.bytes(int(rng.integers(1, 400)))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_bits_of_the_header,
    truncate,
    overwrite_a_number,
    remove_or_repeat,
    random_bytes,
)


def outcome(path: Path) -> str:
    """ "image" or "refused"; anything else fails."""
    try:
        image = load_image(path, max_pixels=MAX_PIXELS)
    except ValueError as error:
        message = str(error)
        assert path.name in message
        assert len(message) < 600 + len(str(path))
        return "refused"
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
    return "image"


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def test_damaged_files_are_refused_or_read(tmp_path: Path, fuzz_count: int | None) -> None:
    count = fuzz_count or IN_CI
    files = valid_files()
    path = tmp_path / "damaged.jpg"
    for content in files.values():
        path.write_bytes(content)
        assert outcome(path) == "image"
    counts: Counter[str] = Counter()
    before = peak_mb()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on damaged metadata
        for seed in range(count):
            rng = np.random.default_rng(seed)
            name = list(files)[seed % len(files)]
            data = bytearray(files[name])
            for _ in range(rng.integers(1, 3)):
                MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
                data = data or bytearray(b"\0")
            path.write_bytes(data)
            try:
                counts[outcome(path)] += 1
            except BaseException as error:
                pytest.fail(f"seed {seed}, {name}: {type(error).__name__}: {error}")
    grown = peak_mb() - before
    print(f"{dict(counts)}, peak memory +{grown:.0f} MB")
    assert min(counts["image"], counts["refused"]) > count / 20
    assert grown < MEMORY_MB
