"""The keypoints of the persons in one image, from users' arrays, with checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.arguments import finite_number, shown
from dualhmr.keypoints import sets
from dualhmr.keypoints.sets import KeypointSet


@dataclass(frozen=True, eq=False)
class Keypoints:
    """2D keypoints of P persons in one image.

    `xy` is (P, K, 2) float32 in image pixels, (0, 0) the centre of the top-left pixel. `confidence`
    is (P, K) float32 in [0, 1]; where it is 0 the keypoint is missing and its `xy` is ignored.
    K and the order of keypoints are those of `set`. Use `as_keypoints` for other arrays.
    `problems` says, for persons that a keypoint file has but that could not be read, why; they have
    no keypoint.

    Raises TypeError for other dtypes, ValueError for other shapes and values.
    """

    set: KeypointSet
    xy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    problems: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, array in (("xy", self.xy), ("confidence", self.confidence)):
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                raise TypeError(
                    f"Keypoints.{name} must be a float32 NumPy array; as_keypoints converts others"
                )
        persons = self.xy.shape[0] if self.xy.ndim else 0
        expected = (persons, len(self.set))
        if self.xy.shape != (*expected, 2) or self.confidence.shape != expected:
            raise ValueError(
                f"Keypoints with xy {self.xy.shape} and confidence {self.confidence.shape}; "
                f"{self.set.name} needs (P, {len(self.set)}, 2) and (P, {len(self.set)})"
            )
        check_finite(self.xy, self.confidence, self.set)
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError("Keypoints.confidence must lie in [0, 1]; as_keypoints clips it")

    def __len__(self) -> int:
        """Return the number of persons."""
        return len(self.xy)

    def select(self, persons: Sequence[int]) -> Keypoints:
        """Return the keypoints of some persons, in the order of `persons`."""
        chosen = list(persons)
        problems = {
            row: self.problems[person]
            for row, person in enumerate(chosen)
            if person in self.problems
        }
        return Keypoints(self.set, self.xy[chosen], self.confidence[chosen], problems)


def check_finite(
    xy: NDArray[np.float32], confidence: NDArray[np.float32], names: KeypointSet
) -> None:
    """Raise ValueError naming the first person and keypoint that is NaN or infinite."""
    bad = ~(np.isfinite(xy).all(axis=-1) & np.isfinite(confidence))
    if bad.any():
        person, keypoint = np.argwhere(bad)[0]
        x, y = xy[person, keypoint]
        raise ValueError(
            f"keypoints must be finite: person {person}, {names.names[keypoint]:.80} has x={x}, "
            f"y={y}, confidence={confidence[person, keypoint]}; give a missing keypoint as 0, 0 "
            "with confidence 0"
        )


# Detectors report joints that they do not see with a low score and a guessed position, which would
# pull the body to the wrong place.
MIN_CONFIDENCE = 0.3


def as_keypoints(
    keypoints: Keypoints | ArrayLike,
    *,
    scores: ArrayLike | None = None,
    keypoint_set: KeypointSet | str | None = None,
    score_scale: float = 1.0,
    min_confidence: float = MIN_CONFIDENCE,
) -> Keypoints:
    """Return `Keypoints` for a detector's or an annotator's arrays.

    `keypoints` is (K, 2|3) for one person or (P, K, 2|3): x and y in image pixels, (0, 0) the
    centre of the top-left pixel, and in a third column the confidence, if there is one. `scores`,
    (K,) or (P, K), passes it separately. `keypoint_set` is inferred from K if left out; other sets
    of 17 keypoints (Human3.6M's) look like COCO's, so pass yours if it is not COCO's.

    Confidence is divided by `score_scale`, the best score of the detector, and clipped to [0, 1],
    so COCO's visibility 2 becomes 1; below `min_confidence` it becomes 0, missing. Without any
    confidence a keypoint has 1. A keypoint at exactly (0, 0) is missing whatever its confidence:
    annotators and detectors write missing ones so. So is a masked element of a masked array.
    Zero persons are fine. `Keypoints` are returned unchanged.

    Raises TypeError for what is not numeric, ValueError for other shapes, sets and values, and for
    confidences on another scale than 0 to 1 (or COCO's 0, 1, 2).
    """
    if isinstance(keypoints, Keypoints):
        return _unchanged(keypoints, scores, keypoint_set)
    min_confidence = finite_number("min_confidence", min_confidence)
    score_scale = finite_number("score_scale", score_scale)
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence:g}; it must lie in [0, 1]")
    # Scores are divided by it in float32.
    if not 1e-6 <= score_scale <= 1e6:
        raise ValueError(f"score_scale is {score_scale:g}; it must lie in [1e-6, 1e6]")
    numbers = _numbers(keypoints, "keypoints")
    if numbers.size == 0:
        return _nobody(numbers, keypoint_set, scores)
    values = _with_person_axis(numbers)
    persons, count, columns = values.shape
    chosen = _set_of(count, keypoint_set)

    xy = values[..., :2]
    if scores is not None and columns == 3:
        raise ValueError(
            "confidence came twice, as the third column of keypoints and as scores; "
            "give keypoints[..., :2] with scores, or leave scores out"
        )
    if scores is not None:
        confidence = _scores(scores, (persons, count))
    elif columns == 3:
        confidence = values[..., 2]
    else:
        confidence = np.ones((persons, count), np.float32)

    confidence = np.where((xy == 0).all(axis=-1), np.float32(0), confidence)
    check_finite(xy, confidence, chosen)
    check_unit_scale(confidence, score_scale)
    clipped = np.clip(confidence / np.float32(score_scale), 0, 1)
    kept = np.where(clipped < np.float32(min_confidence), np.float32(0), clipped)
    return Keypoints(chosen, np.ascontiguousarray(xy), kept)


def _unchanged(
    keypoints: Keypoints, scores: ArrayLike | None, keypoint_set: KeypointSet | str | None
) -> Keypoints:
    if scores is not None:
        raise ValueError("Keypoints carry their confidence already; leave scores out")
    if keypoint_set is not None and sets.keypoint_set(keypoint_set) != keypoints.set:
        raise ValueError(
            f"Keypoints of the set {shown(keypoints.set.name)} came with "
            f"keypoint_set={shown(keypoint_set)}; leave keypoint_set out"
        )
    return keypoints


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float32]:
    if isinstance(values, list | tuple) and any(np.ma.isMaskedArray(each) for each in values):
        values = np.ma.array(values)  # of one person each
    if isinstance(values, np.ma.MaskedArray):
        return _numbers(_unmasked(values), what)
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{what} are not one array: their rows or persons differ in length. A detector's pair "
            "of arrays is passed as keypoints and scores=..."
        ) from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{what} of type {type(values).__name__} cannot become a NumPy array ({error}); "
            "for a torch tensor use .detach().cpu().numpy()"
        ) from error
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{what} must be numbers, not {array.dtype} ({type(values).__name__})")
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # too large for float32 becomes infinite, an error later
        return array.astype(np.float32)


def _unmasked(values: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    """Zeros where an array is masked; of keypoints, in all columns."""
    masked = np.ma.getmaskarray(values)
    if values.ndim > 1 and values.shape[-1] in (2, 3):
        masked = np.broadcast_to(masked.any(axis=-1, keepdims=True), values.shape)
    return np.where(masked, 0, values.data)


def _nobody(
    numbers: NDArray[np.float32],
    keypoint_set: KeypointSet | str | None,
    scores: ArrayLike | None,
) -> Keypoints:
    """Keypoints of zero persons, of the set that is named or has as many keypoints."""
    if numbers.shape[0]:
        raise ValueError(f"keypoints of shape {numbers.shape} hold persons without keypoints")
    if scores is not None and _numbers(scores, "scores").size:
        raise ValueError(f"scores of shape {np.shape(scores)} came with keypoints of zero persons")
    count = numbers.shape[1] if numbers.ndim == 3 else 0
    if keypoint_set is not None or count:
        chosen = _set_of(count, keypoint_set) if count else sets.keypoint_set(keypoint_set or "")
    else:
        chosen = sets.COCO_17
    shape = (0, len(chosen))
    return Keypoints(chosen, np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32))


# Scores from rounding or from interpolated heat maps exceed 1 a little.
_MAX_SCORE = 1.5


def check_unit_scale(confidence: NDArray[np.floating[Any]], scale: float = 1.0) -> None:
    """Raise ValueError if confidences, divided by `scale`, are not from 0 to about 1."""
    scaled = (confidence / np.float32(scale)).astype(np.float32)
    flags = np.isin(scaled, (0, 1, 2)).all()
    if not flags and scaled.max() > _MAX_SCORE:
        raise ValueError(
            f"confidences reach {scaled.max():.4g}; expected 0 to 1, or COCO's flags 0, 1, 2. "
            "Pass score_scale (--score-scale), the best score that your detector gives: "
            "100 for percentages, about 6 for some of AlphaPose's models"
        )


def _with_person_axis(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.ndim == 1 and values.size % 3 == 0:
        hint = "; a flat list of x, y, confidence needs .reshape(-1, 3)"
    elif values.ndim == 2 and values.shape[0] in (2, 3):
        hint = "; this one looks transposed"
    else:
        hint = ""
    if values.ndim not in (2, 3) or values.shape[-1] not in (2, 3):
        raise ValueError(
            f"keypoints of shape {values.shape}; expected (K, 2) or (K, 3) for one person, "
            f"(P, K, 2) or (P, K, 3) for several{hint}"
        )
    return values if values.ndim == 3 else values[None]


def _set_of(count: int, keypoint_set: KeypointSet | str | None) -> KeypointSet:
    if keypoint_set is None:
        return sets.keypoint_set_for_count(count)
    chosen = sets.keypoint_set(keypoint_set)
    if len(chosen) != count:
        raise ValueError(
            f"{count} keypoints per person came with keypoint_set {shown(chosen.name)}, which has "
            f"{len(chosen)}; name the set that your keypoints are in"
        )
    return chosen


def _scores(scores: ArrayLike, expected: tuple[int, int]) -> NDArray[np.float32]:
    array = _numbers(scores, "scores")
    if array.shape != expected and (1, *array.shape) != expected:
        raise ValueError(
            f"scores of shape {array.shape} for {expected[0]} person(s) with {expected[1]} "
            f"keypoints each; expected {expected}, one score per keypoint"
        )
    return array.reshape(expected)
