from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualhmr.rendering import write_png
from dualhmr.rendering.pictures import draw_dots, resize

NOISE = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def test_png_files_keep_every_pixel(tmp_path: Path) -> None:
    write_png(tmp_path / "noise.PNG", NOISE)
    with Image.open(tmp_path / "noise.PNG") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), NOISE)


def test_what_is_no_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.png"):
        write_png(tmp_path / "noise.jpg", NOISE)
    with pytest.raises(TypeError, match="uint8"):
        write_png(tmp_path / "noise.png", NOISE / 255)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        write_png(tmp_path / "noise.png", NOISE[..., :2])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_png(tmp_path / "absent" / "noise.png", NOISE)
    assert list(tmp_path.iterdir()) == []


def test_dots_are_round_and_in_place() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    draw_dots(picture, [[20.25, 15.5]], radius=6.0, colour=(255, 255, 255))
    share = picture[..., 0] / 255
    rows, columns = np.indices(share.shape)
    assert share.sum() == pytest.approx(np.pi * 36, rel=0.02)
    assert (share * columns).sum() / share.sum() == pytest.approx(20.25, abs=0.02)
    assert (share * rows).sum() / share.sum() == pytest.approx(15.5, abs=0.02)


def test_resizing_keeps_the_mean() -> None:
    small = resize(np.tile(NOISE, (20, 20, 1)), 13, 17)
    assert small.shape == NOISE.shape
    assert small.mean() == pytest.approx(NOISE.mean(), abs=2)
