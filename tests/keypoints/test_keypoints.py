from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dualhmr.keypoints import (
    BODY_23,
    COCO_17,
    MIN_CONFIDENCE,
    Keypoints,
    KeypointSet,
    as_keypoints,
)


def standing(count: int = 17) -> NDArray[np.float32]:
    """(count, 2) keypoints of a person within (100..200, 50..350)."""
    rows = np.arange(count) / (count - 1)
    return np.stack([100 + 100 * (rows * 3 % 1), 50 + 300 * rows], -1).astype(np.float32)


@st.composite
def detections(draw: st.DrawFn) -> NDArray[np.float32]:
    """(P, 17, 3): x, y anywhere, scores of about 0 to 1 or a little beyond, as detectors have."""
    persons = draw(st.integers(1, 3))
    xy = hnp.arrays(np.float32, (persons, 17, 2), elements=st.floats(-2, 1e6, width=32))
    score = hnp.arrays(np.float32, (persons, 17, 1), elements=st.floats(-2, 1.5, width=32))
    return np.concatenate([draw(xy), draw(score)], axis=-1)


@settings(deadline=None)
@given(detections())
def test_a_third_column_and_scores_say_the_same(values: NDArray[np.float32]) -> None:
    together = as_keypoints(values)
    apart = as_keypoints(values[..., :2], scores=values[..., 2])
    np.testing.assert_array_equal(together.xy, apart.xy)
    np.testing.assert_array_equal(together.confidence, apart.confidence)


@settings(deadline=None)
@given(detections())
def test_confidence_is_clipped_and_low_means_missing(values: NDArray[np.float32]) -> None:
    confidence = as_keypoints(values).confidence
    raw = np.where((values[..., :2] == 0).all(-1), 0, values[..., 2])
    np.testing.assert_array_equal(confidence[raw >= 1], 1)
    np.testing.assert_array_equal(confidence[raw < MIN_CONFIDENCE], 0)
    between = (raw >= np.float32(MIN_CONFIDENCE)) & (raw <= 1)
    np.testing.assert_array_equal(confidence[between], raw[between])


@settings(deadline=None)
@given(detections())
def test_persons_do_not_depend_on_each_other(values: NDArray[np.float32]) -> None:
    together = as_keypoints(values)
    assert len(together) == len(values)
    for i, person in enumerate(values):
        alone = as_keypoints(person)
        np.testing.assert_array_equal(alone.xy[0], together.xy[i])
        np.testing.assert_array_equal(alone.confidence, together.select([i]).confidence)


@pytest.mark.parametrize("count", [17, 23, 25, 26, 133])
def test_the_set_is_inferred_from_the_count(count: int) -> None:
    assert len(as_keypoints(standing(count)).set) == count


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint16])
def test_any_numeric_dtype_becomes_float32(dtype: type) -> None:
    keypoints = as_keypoints(np.full((17, 2), 7, dtype))
    assert keypoints.xy.dtype == keypoints.confidence.dtype == np.float32
    np.testing.assert_array_equal(keypoints.xy, 7)


def test_nested_lists_and_names_of_sets() -> None:
    keypoints = as_keypoints(standing(23).tolist(), keypoint_set="BODY-23")
    assert keypoints.set is BODY_23
    assert keypoints.xy.shape == (1, 23, 2)


def test_a_set_of_ones_own() -> None:
    own = KeypointSet("own_18", tuple(f"point_{i}" for i in range(18)))
    assert as_keypoints(standing(18), keypoint_set=own).set is own


def test_without_confidence_exactly_zero_is_missing() -> None:
    xy = standing()
    xy[3] = 0
    xy[4] = (0, 5)
    expected = np.ones(17)
    expected[3] = 0
    np.testing.assert_array_equal(as_keypoints(xy).confidence[0], expected)


@pytest.mark.parametrize("score", [1.0, 2.0, 0.5])
def test_a_keypoint_at_zero_is_missing_whatever_its_score(score: float) -> None:
    """Tools write missing keypoints as (0, 0) with a constant, or with a visibility flag."""
    xy = standing()
    xy[3] = 0
    xy[4] = (0, 5)
    kept = as_keypoints(xy, scores=np.full(17, score)).confidence[0]
    assert np.flatnonzero(kept == 0).tolist() == [3]


def test_the_threshold_can_be_lowered() -> None:
    scores = np.linspace(0, 1, 17)
    kept = as_keypoints(standing(), scores=scores, min_confidence=0.0)
    np.testing.assert_allclose(kept.confidence[0], scores, rtol=1e-6)
    with pytest.raises(ValueError, match="min_confidence is 30"):
        as_keypoints(standing(), min_confidence=30)


def test_input_is_copied() -> None:
    values = np.ones((1, 17, 3), np.float32)
    keypoints = as_keypoints(values)
    values[:] = 5
    np.testing.assert_array_equal(keypoints.xy, 1)
    np.testing.assert_array_equal(keypoints.confidence, 1)


def test_keypoints_are_returned_as_they_are() -> None:
    keypoints = as_keypoints(standing())
    assert as_keypoints(keypoints) is keypoints
    assert as_keypoints(keypoints, keypoint_set=COCO_17) is keypoints
    with pytest.raises(ValueError, match="leave scores out"):
        as_keypoints(keypoints, scores=np.ones(17))
    with pytest.raises(ValueError, match="'coco_17' came with keypoint_set='body_25'"):
        as_keypoints(keypoints, keypoint_set="body_25")


class OnAnotherDevice:
    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ones(51), ValueError, r"shape \(51,\).*flat list.*reshape\(-1, 3\)"),
        (np.ones((1, 1, 17, 3)), ValueError, r"shape \(1, 1, 17, 3\); expected \(K, 2\)"),
        (np.ones((17, 4)), ValueError, r"shape \(17, 4\)"),
        (np.ones((3, 17)), ValueError, "transposed"),
        (np.ones((2, 0, 3)), ValueError, "hold persons without keypoints"),
        (np.ones((18, 3)), ValueError, "has 18 keypoints"),
        ([[1, 2], [1, 2, 3]], ValueError, "differ in length.*scores="),
        (np.ones((17, 3), bool), TypeError, "must be numbers, not bool"),
        (np.ones((17, 3), complex), TypeError, "complex128"),
        ([["1", "2"]] * 17, TypeError, "must be numbers"),
        ([[None, 2]] * 17, TypeError, "must be numbers, not object"),
        (None, TypeError, "NoneType"),
        (OnAnotherDevice(), TypeError, r"OnAnotherDevice.*\.detach\(\)\.cpu\(\)\.numpy\(\)"),
    ],
)
def test_unfit_keypoints(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_keypoints(values)


def test_scores_must_fit() -> None:
    with pytest.raises(ValueError, match=r"came twice.*keypoints\[\.\.\., :2\]"):
        as_keypoints(np.ones((17, 3)), scores=np.ones(17))
    with pytest.raises(ValueError, match=r"scores of shape \(16,\).*expected \(1, 17\)"):
        as_keypoints(standing(), scores=np.ones(16))
    with pytest.raises(ValueError, match=r"scores of shape \(17,\) for 2 person"):
        as_keypoints(np.stack([standing()] * 2), scores=np.ones(17))
    with pytest.raises(TypeError, match="scores must be numbers"):
        as_keypoints(standing(), scores=["high"] * 17)


def test_the_set_must_fit() -> None:
    with pytest.raises(ValueError, match=r"17 keypoints per person.*'body_25', which has 25"):
        as_keypoints(standing(), keypoint_set="body_25")
    with pytest.raises(ValueError, match="unknown keypoint set 'smpl'"):
        as_keypoints(standing(), keypoint_set="smpl")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_keypoint_that_is_not_finite_is_named(value: float, column: int) -> None:
    values = np.ones((2, 17, 3))
    values[1, 9, column] = value
    with pytest.raises(ValueError, match="person 1, left_wrist"):
        as_keypoints(values)


def test_keypoints_check_themselves() -> None:
    xy, confidence = standing()[None], np.ones((1, 17), np.float32)
    with pytest.raises(TypeError, match=r"Keypoints\.xy must be a float32"):
        Keypoints(COCO_17, xy.astype(np.float64), confidence)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"coco_17 needs \(P, 17, 2\)"):
        Keypoints(COCO_17, xy[:, :5], confidence)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Keypoints(COCO_17, xy, confidence * 2)
    with pytest.raises(ValueError, match="person 0, nose"):
        Keypoints(COCO_17, xy * np.float32(np.nan), confidence)
