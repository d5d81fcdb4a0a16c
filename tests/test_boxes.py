import math
import re

import numpy as np
import pytest

from dualhmr import Box
from dualhmr.boxes import as_boxes
from dualhmr.camera import keypoint_box


def test_a_rectangle_is_boxed_as_keypoints_are() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(0, 500, (1, 9, 2)).astype(np.float32)
        center, height = keypoint_box(points, np.ones((1, 9), np.float32))
        box = Box.from_corners([*points[0].min(0), *points[0].max(0)])
        assert box.center == pytest.approx(center[0], abs=1e-3)
        assert box.height == pytest.approx(height[0], rel=1e-6)


def test_the_box_of_a_data_set() -> None:
    """A rectangle of 100 x 200 pixels with SPIN's margin has a scale of 1.2."""
    from_file = Box.from_center_scale(np.array([150.0, 300.0]), 1.2)
    assert from_file == Box.from_corners([100, 200, 200, 400])
    assert from_file.corners() == pytest.approx((60, 180, 240, 420))


def test_the_box_without_a_margin() -> None:
    assert Box.from_corners([0, 0, 300, 100], margin=1.0) == Box((150.0, 50.0), 400.0)


def test_what_boxes_may_be() -> None:
    rows = [[10, 20, 110, 220], [5, 5, 50, 90]]
    expected = [Box.from_corners(row) for row in rows]
    assert as_boxes(rows) == as_boxes(np.array(rows)) == as_boxes(tuple(expected)) == expected
    assert as_boxes(rows[0]) == as_boxes(np.array(rows[0])) == as_boxes(expected[0]) == expected[:1]
    assert as_boxes([None, np.array(rows[1]), expected[0]]) == [None, expected[1], expected[0]]
    assert as_boxes([]) == as_boxes(np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([10, 20, 5, 220], "expected x0, y0, x1, y1 in pixels with x0 < x1 and y0 < y1; for x, y,"),
        ([[0, 0, 9, 9], [0, 0, math.nan, 1]], "boxes, person 1: a box is (0, 0, nan, 1)"),
        ([[0, 0, 9, 9, 0.9]], "(1, 5), expected (4,) or (P, 4): x0, y0, x1, y1 in pixels; leave"),
        (np.zeros((2, 2, 4)), "boxes have the shape (2, 2, 4)"),
        ("left", "a box is 'left', expected numbers"),
        ([None, [1, 2, 3]], "boxes, person 1: a box has the shape (3,), expected (4,)"),
        ([0, 0, 1e9, 1e9], "expected finite pixels of an image"),
        (7, "boxes have the shape ()"),
    ],
)
def test_what_they_may_not_be(boxes: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        as_boxes(boxes)


@pytest.mark.parametrize(
    ("center", "height", "message"),
    [
        ((1, 2, 3), 4, "center of a box is (1, 2, 3), expected (x, y)"),
        ((1, math.inf), 4, "center of a box is (1, inf)"),
        ((1, 2), -4, "a box is -4 pixels high"),
        ((1, 2), math.nan, "height of a box is nan"),
        ((1, 2), "4", "height of a box is '4', expected a number of pixels"),
        (("1", "2"), 4, "expected numbers"),
    ],
)
def test_numbers_that_no_box_has(center: tuple, height: float, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Box(center, height)
