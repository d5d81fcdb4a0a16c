import os
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dualhmr.image_files import list_images
from dualhmr.images import load_image, read_image, upright_by_keypoints

# The transposition that stores an upright picture with each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(height: int = 12, width: int = 17) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def oriented(value: int) -> tuple[Image.Image, Image.Exif]:
    picture = Image.fromarray(photo())
    exif = Image.Exif()
    exif[0x0112] = value
    turn = STORED[value]
    return (picture if turn is None else picture.transpose(turn)), exif


@pytest.mark.parametrize("value", STORED)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_every_exif_orientation_gives_the_same_array(
    value: int, suffix: str, tmp_path: Path
) -> None:
    picture, exif = oriented(value)
    path = tmp_path / f"turned{suffix}"
    picture.save(path, exif=exif, lossless=True)  # a WebP option, ignored by the others
    np.testing.assert_array_equal(load_image(path), photo())
    with Image.open(path) as opened:
        np.testing.assert_array_equal(load_image(opened), photo())


@pytest.mark.parametrize("value", STORED)
def test_orientation_in_jpeg(value: int, tmp_path: Path) -> None:
    # Smooth, as JPEG keeps it, and different in all four corners.
    ramp = np.add.outer(np.arange(16) * 4, np.arange(32) * 5).astype(np.uint8)
    picture, exif = Image.fromarray(ramp).convert("RGB"), Image.Exif()
    exif[0x0112] = value
    turn = STORED[value]
    path = tmp_path / "turned.jpg"
    (picture if turn is None else picture.transpose(turn)).save(path, exif=exif, quality=100)
    loaded = load_image(path)
    assert loaded.shape == (16, 32, 3)
    assert np.abs(loaded.astype(int) - ramp[..., None]).max() <= 2


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_are_ignored(value: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(photo()).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "odd.png"), photo())


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    Image.fromarray(photo()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01")
    np.testing.assert_array_equal(load_image(path), photo())


def test_paths_text_and_pil_images_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    picture = Image.fromarray(photo())
    picture.save(path)
    for given_image in (path, str(path), picture, photo()):
        loaded = load_image(given_image)
        np.testing.assert_array_equal(loaded, photo())
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous


def test_a_pil_image_is_not_shared() -> None:
    picture = Image.fromarray(photo())
    load_image(picture)[:] = 0
    np.testing.assert_array_equal(np.asarray(picture), photo())


@pytest.mark.parametrize(
    "mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"]
)
def test_modes_agree_with_pillow_where_nothing_is_transparent(mode: str) -> None:
    picture = Image.fromarray(photo())
    picture = Image.new("LAB", (4, 3), (120, 90, 200)) if mode == "LAB" else picture.convert(mode)
    np.testing.assert_array_equal(load_image(picture), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    if mode == "PA":
        picture = Image.new("P", (2, 1))
        picture.putpalette([0, 0, 0, 50, 50, 50])
        picture = picture.convert("PA")
        picture.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    else:
        base = "LA" if mode.startswith("L") else "RGBA"
        picture = Image.new(base, (2, 1))
        picture.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
        picture = picture.convert(mode)
    np.testing.assert_array_equal(load_image(picture)[0], [(255,) * 3, (0,) * 3])


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_transparent_palettes(transparency: int | bytes, tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    picture.putpalette([9, 9, 9, 50, 60, 70])
    path = tmp_path / "palette.png"
    picture.save(path, transparency=transparency)
    np.testing.assert_array_equal(load_image(path)[0], [(255, 255, 255), (50, 60, 70)])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_of_sixteen_bits_the_upper_eight_are_kept(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    expected = np.repeat([[[0], [0], [1], [0x12], [0xFF]]], 3, axis=-1)
    np.testing.assert_array_equal(load_image(tmp_path / f"deep{suffix}"), expected)
    np.testing.assert_array_equal(load_image(Image.fromarray(values.astype(np.int32))), expected)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("F", (2, 2)), "floating-point pixels; convert it to 8 bits"),
        (Image.fromarray(np.full((2, 2), 70_000, np.int32)), "more than 16 bits"),
    ],
)
def test_modes_without_a_way_to_rgb(picture: Image.Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_image(picture)


def test_grey_and_strided_arrays() -> None:
    grey = photo()[..., 0]
    np.testing.assert_array_equal(load_image(grey), np.repeat(grey[..., None], 3, axis=-1))
    backwards = photo()[..., ::-1]
    loaded = load_image(backwards)
    np.testing.assert_array_equal(loaded, backwards)
    assert loaded.flags.c_contiguous


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (photo() / 255, TypeError, "float64; expected uint8.*multiply by 255"),
        (photo().astype(np.uint16), TypeError, r"uint16.*\(image >> 8\)"),
        (photo().astype(np.int64), TypeError, "dtype int64; expected uint8$"),
        (np.zeros((5, 5, 4), np.uint8), ValueError, r"\(5, 5, 4\).*drop its alpha"),
        (np.zeros((3, 5, 6), np.uint8), ValueError, r"image\.transpose\(1, 2, 0\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), ValueError, r"\(1, 5, 5, 3\); expected \(H, W, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, r"\(0, 5, 3\)"),
        (photo().tolist(), TypeError, "image of type list; expected a path"),
        (None, TypeError, "NoneType"),
        (b"photo.jpg", ValueError, "the image is not an image in a format that is read"),
    ],
)
def test_unfit_images(image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_image(image)


def test_places_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.jpg does not exist"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="is a folder, not an image"):
        load_image(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.jpg is not an image in a format"):
        load_image(tmp_path / "text.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is not an image"):
        load_image(tmp_path / "empty.jpg")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]), st.floats(0, 0.8))
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, kind: str, fraction: float) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(photo(64, 64)).save(path, format=kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=r"cut\.jpg (cannot be decoded|is not an image)"):
        load_image(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"]), st.data())
def test_a_damaged_file_is_an_error_or_an_image(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    path = tmp_path / "damaged.jpg"
    Image.fromarray(photo(16, 16)).save(path, format=kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = load_image(path)
    except ValueError:
        return
    assert loaded.ndim == 3
    assert loaded.dtype == np.uint8


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_the_pixel_limit_is_twice_pillows_and_an_option(
    action: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("L", (300, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert load_image(path).shape == (10, 300, 3)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(ValueError, match=r"bomb\.png .*3000 pixels, the limit is 2000;.*max_p"):
            load_image(path)
        assert load_image(path, max_pixels=3000).shape == (10, 300, 3)
        with pytest.raises(ValueError, match="the limit is 2999"):
            load_image(path, max_pixels=2999)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(path).shape == (10, 300, 3)
    with Image.open(path) as opened, pytest.raises(ValueError, match="PIL image is too large"):
        load_image(opened, max_pixels=10)


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (True, TypeError), (1e9, TypeError), ("9", TypeError)]
)
def test_limits_that_are_none(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pixels is"):
        load_image(photo(), max_pixels=limit)


@pytest.mark.parametrize("name", ["frames.gif", "frames.tiff", "frames.png", "frames.mpo"])
def test_of_several_frames_the_first_is_taken_and_it_is_said(name: str, tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 3), value) for value in (10, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / name)
    np.testing.assert_allclose(image.pixels.astype(int), 10, atol=1)
    assert "several frames" in image.notes[0]
    frames[0].save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png").notes == ()


def turned_by_hand(value: int, *, size_in_exif: bool) -> Image.Image:
    """The upright picture, with the EXIF of the file that it came from."""
    stored, exif = oriented(value)
    if size_in_exif:
        exif[0x8769] = {0xA002: stored.width, 0xA003: stored.height}
    stored.info["exif"] = exif.tobytes()
    turn = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}.get(value, STORED[value])
    return stored.copy() if turn is None else stored.transpose(turn)


@pytest.mark.parametrize("value", STORED)
def test_what_was_turned_by_hand_is_not_turned_twice_where_it_can_be_known(value: int) -> None:
    image = read_image(turned_by_hand(value, size_in_exif=True))
    if value in (2, 3, 4):  # the size stays the same
        assert image.as_passed is not None
        np.testing.assert_array_equal(image.as_passed, photo())
    else:
        np.testing.assert_array_equal(image.pixels, photo())
        assert image.as_passed is None


@pytest.mark.parametrize("value", STORED)
@pytest.mark.parametrize("change", ["convert", "resize", "copy"])
def test_what_was_changed_but_not_turned_is_turned(value: int, change: str) -> None:
    stored, exif = oriented(value)
    exif[0x8769] = {0xA002: stored.width, 0xA003: stored.height}
    stored.info["exif"] = exif.tobytes()
    changed = {
        "convert": lambda: stored.convert("RGBA"),
        "resize": lambda: stored.resize((3 * stored.width, 3 * stored.height), 0),
        "copy": stored.copy,
    }[change]()
    expected = photo() if change != "resize" else photo().repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(load_image(changed), expected)


@pytest.mark.parametrize("value", STORED)
def test_keypoints_decide_where_the_size_cannot(value: int) -> None:
    image = read_image(turned_by_hand(value, size_in_exif=False))
    corners = np.array([[[0, 0], [16, 0], [0, 11], [16, 11], [np.nan, 0]]])
    pixels, warning = upright_by_keypoints(image, corners, np.ones(corners.shape[:2]))
    if value == 1:
        assert warning is None
    else:
        assert warning is not None
        assert f"EXIF orientation ({value})" in warning
        assert ("it was not turned by it, as the keypoints fit" in warning) == (value > 4)
    if value not in (2, 3, 4):
        np.testing.assert_array_equal(pixels, photo())
    if value > 4:  # keypoints that fit in the turned picture only
        pixels, warning = upright_by_keypoints(image, corners[..., ::-1], np.ones((1, 5)))
        np.testing.assert_array_equal(pixels, image.pixels)
        assert warning is not None
        assert "it was turned by it, as the keypoints fit" in warning


def test_postscript_in_a_pil_image_never_reaches_ghostscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a program was started")

    path = tmp_path / "drawing.eps"
    Image.fromarray(photo()).save(path)
    monkeypatch.setattr(subprocess, "Popen", run)
    monkeypatch.setattr(os, "system", run)
    with Image.open(path) as opened, pytest.raises(ValueError, match="EPS, which is a drawing"):
        load_image(opened)


def test_real_photographs(shared_folder: Path) -> None:
    paths = list_images(shared_folder / "photos")
    assert len(paths) == 11
    for path in paths:
        assert load_image(path).shape[-1] == 3
