from dataclasses import replace

import numpy as np
import pytest

from dualhmr.detection import Detections
from dualhmr.keypoints import COCO_17
from dualhmr_benchmarks.detector_errors import Person, compare, measured, summary
from dualhmr_benchmarks.photo_variants import Annotation

RNG = np.random.default_rng(0)
POINTS = (RNG.random((17, 2)) * (100, 200)).astype(np.float32)
SIZE = float((POINTS.max(0) - POINTS.min(0)).max())
ANNOTATION = Annotation(POINTS, np.ones(17, bool), 10_000.0, (0, 0, 100, 200))


def found(keypoints: np.ndarray, scores: np.ndarray | None = None) -> Detections:
    scores = np.full((len(keypoints), 17), 0.9) if scores is None else scores
    return Detections(
        COCO_17,
        keypoints.astype(np.float32),
        scores.astype(np.float32),
        np.zeros((len(keypoints), 4), np.float32),
        np.ones(len(keypoints), np.float32),
    )


def compared(keypoints: np.ndarray, scores: np.ndarray | None = None) -> Person:
    person = compare(found(keypoints[None], None if scores is None else scores[None]), ANNOTATION)
    assert person is not None
    return person


def test_errors_are_in_fractions_of_the_size() -> None:
    person = compared(POINTS + np.array([0.03, 0.04]) * SIZE)
    np.testing.assert_allclose(person.errors, 0.05, rtol=1e-3)
    assert person.swapped == {"arms": False, "legs": False}


def test_exchanged_legs_are_noticed_and_set_right() -> None:
    left, right = (
        [COCO_17.index(f"{s}_{p}") for p in ("knee", "ankle")] for s in ("left", "right")
    )
    points = POINTS.copy()
    points[left + right] = POINTS[right + left]
    person = compared(points)
    assert person.swapped == {"arms": False, "legs": True}
    assert np.nanmax(person.errors) < 1e-6


def test_missing_keypoints_have_no_error() -> None:
    scores = np.full(17, 0.9)
    scores[[3, 9]] = 0
    person = compared(POINTS, scores)
    assert np.isnan(person.errors[[3, 9]]).all()
    assert "arms" not in person.swapped


def test_the_nearest_person_is_compared_and_strangers_are_not() -> None:
    away = POINTS + 500
    assert compare(found(away[None]), ANNOTATION) is None
    assert compare(found(np.zeros((0, 17, 2))), ANNOTATION) is None
    person = compare(found(np.stack([away, POINTS])), ANNOTATION)
    assert person is not None
    assert np.nanmax(person.errors) < 1e-6


def test_noise_of_a_known_level_is_found_again() -> None:
    people = [compared(POINTS + 0.02 * SIZE * RNG.standard_normal((17, 2))) for _ in range(300)]
    table = dict(summary(people, 310))
    assert table["found"] == "300 of 310 persons"
    level = float(table["noise, standard deviation along an axis"])
    assert level == pytest.approx(0.02, rel=0.05)
    assert table["left and right exchanged, arms and legs"] == "0 of 600"


def test_nobody_is_found() -> None:
    photo = ("a", np.zeros((220, 120, 3), np.uint8), [replace(ANNOTATION)])
    with pytest.raises(ValueError, match="none of 4 annotated persons is found"):
        measured([photo], lambda _: found(np.zeros((0, 17, 2))))
