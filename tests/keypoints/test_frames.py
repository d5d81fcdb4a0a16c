"""Photographs that are stored turned."""

import numpy as np
import pytest
from PIL import Image

from dualhmr.keypoints.frames import in_upright_image, upright_points
from dualhmr.keypoints.records import Points

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_turn_as_pixels_do(orientation: int) -> None:
    raw = np.zeros((5, 7), np.uint8)
    raw[1, 4] = 255
    picture = Image.fromarray(raw)
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    y, x = np.argwhere(np.asarray(picture))[0]
    turned = upright_points(np.array([4.0, 1.0]), orientation, picture.size)
    np.testing.assert_array_equal(turned, (x, y))


UPRIGHT, RAW = (480, 640), (640, 480)
"""Sizes of a photograph with orientation 6: (x, y) of the raw image is (479 - y, x) upright."""
CENTRAL = ((100, 100), (300, 200), (200, 300))
LOW = ((100, 100), (300, 600), (200, 300))
WIDE = ((100, 100), (600, 300), (200, 300))


def persons(xy: tuple[tuple[int, int], ...]) -> Points:
    return np.array([[(*point, 1) for point in xy] + [(0, 0, 0)]], float)


def placed(xy: tuple[tuple[int, int], ...], **options: object) -> Points:
    arguments = {
        "image_size": UPRIGHT, "listed_size": RAW, "orientation": 6, "frame": None, **options
    }  # fmt: skip
    return in_upright_image(persons(xy), **arguments)  # type: ignore[arg-type]


def turned(xy: tuple[tuple[int, int], ...]) -> Points:
    return persons(tuple((479 - y, x) for x, y in xy))


def test_what_fits_decides_where_sizes_are_swapped() -> None:
    np.testing.assert_array_equal(placed(LOW), persons(LOW))
    np.testing.assert_array_equal(placed(WIDE), turned(WIDE))


@pytest.mark.parametrize("xy", [CENTRAL, LOW + WIDE])
def test_where_both_or_none_fit_the_user_decides(xy: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"says that the image is 640x480.*EXIF turns it to 480x640"
                       r".*points_frame='raw' or 'upright' \(--points-frame\)"):  # fmt: skip
        placed(xy)
    np.testing.assert_array_equal(placed(xy, frame="upright"), persons(xy))
    np.testing.assert_array_equal(placed(xy, frame="raw"), turned(xy))


@pytest.mark.parametrize("listed", [UPRIGHT, None])
def test_points_are_upright_unless_they_lie_outside(listed: tuple[int, int] | None) -> None:
    for xy in (CENTRAL, LOW, ((490, 10),)):
        np.testing.assert_array_equal(placed(xy, listed_size=listed), persons(xy))
    with pytest.raises(ValueError, match=r"lie outside of the image, which is 480x640 upright"):
        placed(WIDE, listed_size=listed)
    np.testing.assert_array_equal(placed(WIDE, listed_size=listed, frame="raw"), turned(WIDE))


def test_a_half_turn_is_undone_only_on_request() -> None:
    same = {"listed_size": UPRIGHT, "orientation": 3}
    np.testing.assert_array_equal(placed(CENTRAL, **same), persons(CENTRAL))
    back = placed(CENTRAL, **same, frame="raw")
    np.testing.assert_array_equal(back, persons(tuple((479 - x, 639 - y) for x, y in CENTRAL)))


def test_other_sizes() -> None:
    with pytest.raises(ValueError, match="is 320x240 in the file, but 480x640 as it was read"):
        placed(CENTRAL, listed_size=(320, 240))
    with pytest.raises(ValueError, match=r"one of them was turned.*points_frame='upright'"):
        placed(CENTRAL, orientation=1)
    np.testing.assert_array_equal(placed(CENTRAL, orientation=1, frame="upright"), persons(CENTRAL))
    with pytest.raises(ValueError, match="points_frame is 'up'; expected one of upright, raw"):
        placed(CENTRAL, frame="up")
    with pytest.raises(ValueError, match="needs image_size"):
        placed(CENTRAL, image_size=None, frame="raw")
