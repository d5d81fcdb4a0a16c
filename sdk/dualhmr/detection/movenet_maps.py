"""What MoveNet's maps say of people: their keypoints, boxes and scores.

The networks give maps with a quarter of the picture's height and width: where people's centres
are, and at a centre the size of the box and how far away each keypoint is; where keypoints are of
anybody, and how far each is from its pixel. These are the last parts of Google's MoveNet MultiPose
and MoveNet Thunder in NumPy, equal to the originals but for rounding. MultiPose's finds any number
of people, the original six.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

STRIDE = 4
"""Pixels of the picture from one pixel of a map to the next."""
# Centres in a window are one person.
_WINDOW = 5
_PEAK_TOLERANCE = 1.0132789611816406e-06
# The variance of where a keypoint is expected, over the shorter side of the maps.
_VARIANCE = np.float32(0.300048828125)
# Keypoints below it do not count for the person's score.
_COUNTED_SCORE = np.float32(0.126953125)
# Of MoveNet Thunder: pixels that are added to a distance before a score is divided by it.
_NEAR = np.float32(1.7998046875)


class MovenetPeople(NamedTuple):
    """P people, best centre first; in pixels of the picture, from its left and top edges."""

    keypoints: FloatArray
    """(P, 17, 2) x, y in COCO's order."""
    scores: FloatArray
    """(P, 17) in [0, 1]."""
    boxes: FloatArray
    """(P, 4) left, top, right, bottom."""
    person_scores: FloatArray
    """(P,) the centre's score times the mean of the keypoints'."""


def people_in_maps(
    maps: Mapping[str, FloatArray], *, most: int, min_score: float = -1.0
) -> MovenetPeople:
    """The `most` likeliest people of MultiPose's maps whose centres have `min_score` or more.

    No person's score is above that of its centre.

    `maps` has, for maps of h x w pixels, `center` (1, h, w), `box_size` and `box_offset` (2, h, w),
    `keypoint` (17, h, w), `keypoint_regression` and `keypoint_offset` (34, h, w). All pairs are
    (y, x), in pixels of the map.
    """
    rows, columns, center_scores = _centers(maps["center"][0], most, min_score)
    offset = maps["box_offset"][:, rows, columns]
    half = np.maximum(maps["box_size"][:, rows, columns], 0) * np.float32(0.5)
    middle = np.stack([rows, columns]) + offset
    height, width = maps["center"].shape[1:]
    limits = np.array([[height], [width]], np.float32)
    low, high = (np.clip(each, 0, limits) for each in (middle - half, middle + half))
    shape = (len(rows), len(maps["keypoint"]), 2)
    expected = maps["keypoint_regression"][:, rows, columns].T.reshape(shape)
    expected = expected + np.stack([rows, columns], -1)[:, None]
    likely_y, likely_x = (
        _likelihood(expected[..., axis], low[axis], high[axis], size, min(height, width))
        for axis, size in enumerate((height, width))
    )
    at_y, at_x, scores = _best_pixels(maps["keypoint"], likely_y, likely_x)
    counted = scores > _COUNTED_SCORE
    mean = np.where(counted, scores, 0).sum(1) / np.maximum(counted.sum(1), 1)
    return MovenetPeople(
        _keypoints(maps["keypoint_offset"], at_y, at_x),
        scores,
        (np.stack([low[1], low[0], high[1], high[0]], -1) * STRIDE).astype(np.float32),
        (center_scores * mean).astype(np.float32),
    )


def person_in_maps(maps: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """The person in the middle, of Thunder's maps: keypoints (17, 2) and scores (17,).

    The maps are as in `people_in_maps`, without those of boxes; `center` is larger in the middle of
    the picture.
    """
    heat = maps["keypoint"]
    points, height, width = heat.shape
    row, column = divmod(int(maps["center"].argmax()), width)
    expected = maps["keypoint_regression"][:, row, column].reshape(points, 2)
    expected = expected + np.array([row, column], np.float32)
    away_y = np.arange(height, dtype=np.float32) - expected[:, :1]
    away_x = np.arange(width, dtype=np.float32) - expected[:, 1:]
    distance = np.sqrt(away_y[:, :, None] ** 2 + away_x[:, None] ** 2)
    best = (heat / (distance + _NEAR)).reshape(points, -1).argmax(1)
    at_y, at_x = np.divmod(best, width)
    keypoints = _keypoints(maps["keypoint_offset"], at_y[None], at_x[None])[0]
    return keypoints, heat[np.arange(points), at_y, at_x]


def _keypoints(
    offset: FloatArray, at_y: npt.NDArray[np.intp], at_x: npt.NDArray[np.intp]
) -> FloatArray:
    """Keypoints (P, K, 2) x, y in pixels of the picture, from rows and columns (P, K)."""
    point = np.arange(at_y.shape[1])
    pairs = offset.reshape(len(point), 2, *offset.shape[1:])
    x, y = at_x + pairs[point, 1, at_y, at_x], at_y + pairs[point, 0, at_y, at_x]
    return (np.stack([x, y], -1) * STRIDE).astype(np.float32)


def _centers(
    center: FloatArray, most: int, min_score: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Rows, columns and scores of the highest peaks of a map (h, w), best first."""
    reach = _WINDOW // 2
    padded = np.pad(center, reach, constant_values=-np.inf)
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis)
        padded = windows.max(-1)
    peaks = np.where(np.abs(center - padded) < _PEAK_TOLERANCE, center, 0).ravel()
    best = np.argsort(-peaks, kind="stable")[:most]
    best = best[peaks[best] >= min_score]
    rows, columns = np.divmod(best, center.shape[1])
    return rows, columns, peaks[best]


def _likelihood(
    expected: FloatArray, low: FloatArray, high: FloatArray, size: int, shorter: int
) -> FloatArray:
    """How likely each keypoint is at each pixel along one axis: (P, K, size), 0 outside the box.

    The Gaussian of a distance is the product of those along both axes.
    """
    pixel = np.arange(size, dtype=np.float32)
    likely = np.exp(-((pixel - expected[..., None]) ** 2) / (_VARIANCE * np.float32(shorter)))
    inside = (pixel >= low[:, None]) & (pixel < high[:, None])
    return np.where(inside[:, None], likely, np.float32(0)).astype(np.float32)


def _best_pixels(
    heat: FloatArray, likely_y: FloatArray, likely_x: FloatArray
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Row, column and score (P, K) of the best pixel of each keypoint.

    `heat` (K, h, w). The score at a pixel is that of the person who claims it most.
    """
    persons, points = likely_y.shape[:2]
    best = np.zeros((persons, points), np.intp)
    for person in range(persons):
        weighted = heat * likely_y[person, :, :, None] * likely_x[person, :, None, :]
        best[person] = weighted.reshape(points, -1).argmax(1)
    at_y, at_x = np.divmod(best, heat.shape[2])
    point = np.arange(points)
    claims = likely_y[:, point, at_y] * likely_x[:, point, at_x]  # (claiming, P, K)
    return at_y, at_x, heat[point, at_y, at_x] * claims.max(0, initial=0)
