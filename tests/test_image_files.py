import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dualhmr.image_files import IMAGE_SUFFIXES, image_format, list_images, scan_folder
from dualhmr.images import load_image, read_image

SMOOTH: NDArray[np.uint8] = np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.uint8)
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF"]


def encoded(kind: str, **options: Any) -> bytes:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    file = io.BytesIO()
    Image.fromarray(SMOOTH).convert("RGB").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".json", ""])
def test_the_content_decides_and_not_the_name(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(kind))
    assert np.abs(load_image(path).astype(int) - SMOOTH[..., None]).max() <= 12
    assert scan_folder(tmp_path) == ([path], {})


def heif_like(major: bytes, *compatible: bytes) -> bytes:
    box = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return (len(box) + 4).to_bytes(4, "big") + box + bytes(64)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (heif_like(b"heic", b"mif1", b"heic"), "HEIF"),
        (heif_like(b"mif1", b"heic"), "HEIF"),
        (heif_like(b"mif1", b"avif", b"mif1"), "AVIF"),
        (heif_like(b"avis", b"avif"), "AVIF"),
        (heif_like(b"isom", b"mp41"), None),
        (heif_like(b"qt  "), None),
        (heif_like(b"crx ", b"isom"), None),
        (b"BM is also how a text may begin, and so may others", None),
        (b"P5 notes on what was photographed on the fifth day", None),
        (b"P6\n# a comment\n4 4\n255\n" + bytes(48), "PPM"),
        (b"II+\0\x08\0\0\0" + bytes(64), "TIFF"),
        (b"", None),
        (b"\xff\xd8", None),
    ],
)
def test_formats_by_their_first_bytes(head: bytes, expected: str | None) -> None:
    assert image_format(head) == expected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(60), "PostScript"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"8BPS\0\1" + bytes(60), "a Photoshop file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\xff\x0a" + bytes(60), "a JPEG XL image"),
        (heif_like(b"isom", b"mp41"), "a video"),
        (heif_like(b"crx ", b"isom"), "a raw photograph"),
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "read are AVIF, BMP"),  # Windows metafile
        (b"", "it is empty"),
        (b"no picture", "read are AVIF, BMP"),
    ],
)
def test_other_content_under_the_name_of_a_photograph_reaches_no_decoder(
    content: bytes, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a decoder or a program was started")

    for owner, name in ((subprocess, "Popen"), (os, "system"), (Image, "open")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(Image, "OPEN", dict.fromkeys(Image.OPEN, (refuse, None)))
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"photo\.jpg is not an image in a format.*{what}"):
        load_image(path)
    assert scan_folder(tmp_path).images == [path]  # so that it is reported


def test_pillows_own_drawing_formats_are_refused(tmp_path: Path) -> None:
    for kind in ("EPS", "PDF"):
        Image.fromarray(SMOOTH).save(tmp_path / "photo.png", format=kind)
        with pytest.raises(ValueError, match="not an image in a format that is read"):
            load_image(tmp_path / "photo.png")


def tiff_with(tags: dict[int, Any]) -> bytes:
    return encoded("TIFF", tiffinfo=tags)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.dng", tiff_with({0xC612: b"\1\4\0\0"})),  # DNGVersion
        ("a.tif", tiff_with({0xC612: b"\1\4\0\0"})),
        ("a.tif", tiff_with({0xFE: 1})),  # a thumbnail first, as in NEF and ARW
        ("a.nef", tiff_with({})),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(200)),
    ],
)
def test_the_thumbnail_of_a_raw_photograph_is_never_taken_for_the_photograph(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"raw photograph of a camera; develop it|cannot be decod"):
        load_image(path)


def test_a_folder_of_everything(tmp_path: Path) -> None:
    photos = {"b.JPG": "JPEG", "a.jfif": "JPEG", "c.gif": "GIF", "d": "PNG", "e.tga": "BMP"}
    for name, kind in photos.items():
        (tmp_path / name).write_bytes(encoded(kind))
    (tmp_path / "broken.jpeg").write_bytes(b"")
    unread = {
        "IMG_1.dng": (tiff_with({}), "a raw photograph of a camera"),
        "IMG_2.CR3": (b"", "a raw photograph of a camera"),
        "clip.MOV": (b"", "a video"),
        "drawing.svg": (b"<svg/>", "an SVG drawing"),
        "layers.psd": (b"8BPS", "a Photoshop file"),
        "live": (heif_like(b"qt  "), "a video"),
        "old.pcx": (b"", "a .pcx file"),
    }
    for name, (content, _) in unread.items():
        (tmp_path / name).write_bytes(content)
    for name in ("._b.jpg", "k.json", "k.npy", "notes.txt", "index.html"):
        (tmp_path / name).write_text("<html>")
    (tmp_path / "folder.jpg").mkdir()
    folder = scan_folder(tmp_path)
    assert [path.name for path in folder.images] == sorted([*photos, "broken.jpeg"])
    assert {path.name: what for path, what in folder.unread.items()} == {
        name: what for name, (_, what) in unread.items()
    }
    assert list_images(tmp_path) == folder.images
    assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no images in "):
        list_images(tmp_path)
    (tmp_path / "IMG_1.nef").touch()
    with pytest.raises(FileNotFoundError, match=r"IMG_1\.nef is a raw photograph"):
        list_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match="is not a folder"):
        list_images(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        load_image(tmp_path / "pipe.jpg")


def test_heic_without_its_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(heif_like(b"heic", b"mif1"))
    with pytest.raises(ImportError, match=r'IMG_1\.HEIC is a HEIC image.*"dualhmr\[heic\]"'):
        load_image(path)


def test_heic_is_read_upright_and_pillow_stays_as_it_was(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(SMOOTH).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    path = tmp_path / "phone.jpg"  # as some tools name it
    pillow_heif.from_pillow(stored).save(path, quality=95, exif=exif.tobytes())
    openers = set(Image.OPEN)
    image = read_image(path)
    assert image.notes == ()
    assert np.abs(image.pixels.astype(int) - SMOOTH[..., None]).mean() < 3
    assert set(Image.OPEN) == openers
    with pytest.raises(ValueError, match=r"is too large: 48x64|is too large: 64x48"):
        load_image(path, max_pixels=100)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot be decoded"):
        load_image(path)
