"""Detections: checks, confidences, similarity, and the COCO file that the SDK reads again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.standing_person import standing_person

import dualhmr
from dualhmr.detection import Detections, write_coco
from dualhmr.detection.detections import keypoint_boxes
from dualhmr.detection.similarity import keypoint_similarity
from dualhmr.keypoints import BODY_23, COCO_17


def made(persons: int = 2) -> Detections:
    rng = np.random.default_rng(0)
    middles = [(200 + 150 * person, 250) for person in range(persons)]
    points = [standing_person(middle=middle) for middle in middles]
    keypoints = np.array(points, np.float32).reshape(persons, 17, 2)
    scores = rng.uniform(0.05, 0.95, (persons, 17)).astype(np.float32)
    boxes = keypoint_boxes(keypoints, scores, min_score=0)
    return Detections(COCO_17, keypoints, scores, boxes, scores.mean(1))


def test_confidence_rises_along_the_range_of_scores() -> None:
    found = replace(made(1), score_range=(0.1, 0.7))
    found.scores[0, :5] = (0, 0.1, 0.25, 0.7, 0.95)
    confidence = found.to_keypoints().confidence[0, :5]
    np.testing.assert_allclose(confidence, (0, 0, 0.25, 1, 1), atol=1e-6)
    order = np.argsort(found.scores[0])
    assert (np.diff(found.to_keypoints().confidence[0, order]) >= 0).all()


def test_a_keypoint_at_zero_is_missing() -> None:
    found = made(1)
    found.keypoints[0, 3] = 0
    found.scores[0, 3] = 0.9
    assert found.to_keypoints().confidence[0, 3] == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keypoints", np.zeros((2, 16, 2), np.float32), "keypoints of Detections have the shape"),
        ("scores", np.zeros((2, 17)), "scores of Detections must be a float32"),
        ("scores", np.full((2, 17), 1.5, np.float32), r"must lie in \[0, 1\]"),
        ("boxes", np.full((2, 4), np.nan, np.float32), "not finite"),
        ("person_scores", np.zeros(3, np.float32), "shape"),
        ("score_range", (0.5, 0.5), "score_range"),
        ("keypoint_set", BODY_23, "body_23"),
    ],
)
def test_what_is_no_detections(field: str, value: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        replace(made(), **{field: value})


def test_select_takes_numbers_and_booleans() -> None:
    found = made(3)
    np.testing.assert_array_equal(found.select([2, 0]).keypoints, found.keypoints[[2, 0]])
    np.testing.assert_array_equal(
        found.select(np.array([True, False, True])).scores, found.scores[[0, 2]]
    )
    assert len(found.select([])) == 0
    assert repr(found) == "Detections(3 persons, coco_17)"


def test_similarity_is_cocos() -> None:
    points = standing_person()
    area = 400.0 * 150
    weights = np.ones(17)
    assert keypoint_similarity(points[None], points, weights=weights, area=area)[0] == 1
    moved = points.copy()
    moved[0] += 13
    moved[9] += (0, 40)
    similarity = keypoint_similarity(moved[None], points, weights=weights, area=area)[0]
    nose, wrist = (
        np.exp(-squared / (2 * area * (2 * sigma) ** 2))
        for squared, sigma in ((2 * 13**2, 0.026), (40**2, 0.062))
    )
    assert similarity == pytest.approx((15 + nose + wrist) / 17)
    assert keypoint_similarity(moved[None], points, weights=0 * weights, area=area)[0] == 0
    assert (
        keypoint_similarity(points[:0].reshape(0, 17, 2), points, weights=weights, area=1).size == 0
    )


def test_boxes_are_around_clear_keypoints() -> None:
    keypoints = np.array([[[0, 0], [10, 20], [30, 5]], [[1, 2], [3, 4], [5, 6]]], np.float32)
    scores = np.array([[0.1, 0.5, 0.5], [0, 0, 0]], np.float32)
    boxes = keypoint_boxes(keypoints, scores, min_score=0.3)
    np.testing.assert_array_equal(boxes, [[10, 5, 30, 20], [1, 2, 5, 6]])


def test_the_coco_file_is_read_again(tmp_path: Path) -> None:
    found = made(2)
    path = tmp_path / "keypoints.json"
    write_coco(path, {"a.jpg": ((600, 500), found), "nobody.jpg": ((60, 50), made(0))})
    read = dualhmr.read_keypoints(path, image_name="a.jpg", min_confidence=0)
    assert read.set == COCO_17
    np.testing.assert_allclose(read.xy, found.keypoints, atol=0.01)
    np.testing.assert_allclose(read.confidence, found.scores, atol=1e-4)
    assert len(dualhmr.read_keypoints(path, image_name="nobody.jpg")) == 0
    other = Detections(
        BODY_23, *(np.zeros(shape, np.float32) for shape in ((0, 23, 2), (0, 23), (0, 4), (0,)))
    )
    with pytest.raises(ValueError, match="several keypoint sets"):
        write_coco(path, {"a.jpg": ((6, 5), found), "b.jpg": ((6, 5), other)})
