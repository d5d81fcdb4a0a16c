"""Detectors of other libraries, and functions of users', as detectors of this SDK.

A user's detector is any callable that takes an image (H, W, 3) uint8 RGB and returns `Detections`,
or a pair of arrays, keypoints (P, K, 2) and scores (P, K). Objects of rtmlib and Ultralytics are
recognised: they take BGR images, and Ultralytics' returns results of its own. Their models are
downloaded by these libraries, not by this one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import shown
from dualhmr.detection.detections import AnyDetector, Detections, keypoint_boxes
from dualhmr.detection.movenet import MovenetDetector, MovenetOptions
from dualhmr.engines.frozen_network import EngineOptions
from dualhmr.keypoints import MIN_PERSON_SCORE, KeypointSet, keypoint_set_for_count
from dualhmr.keypoints.keypoints import check_unit_scale
from dualhmr.untrusted import brief

DEFAULT_DETECTOR = "movenet"
_RTMLIB_CLASSES = {"body": "Body", "body_with_feet": "BodyWithFeet", "wholebody": "Wholebody"}
_NAMES = "'movenet', 'rtmlib:body', 'rtmlib:body_with_feet', 'rtmlib:wholebody', 'ultralytics:FILE'"
_BOX_SCORE = 0.3
"""Keypoints with a lower score do not count for boxes that are made of keypoints."""


class NamedDetector:
    """A detector whose results are checked, and whose errors name it."""

    def __init__(
        self,
        name: str,
        detect: Callable[[npt.NDArray[np.uint8]], Detections],
        *,
        shareable: bool = False,
    ) -> None:
        """`shareable`: whether several threads may call it at once."""
        self.name, self.shareable = name, shareable
        self._detect = detect
        # MoveNet alone can look at a part of the image, and leave the others as they are.
        self.follow = detect.follow if isinstance(detect, MovenetDetector) else None
        """`MovenetDetector.follow`, or None for a detector that has no such thing."""

    def __repr__(self) -> str:
        return f"NamedDetector({self.name})"

    def __call__(self, image: npt.NDArray[np.uint8]) -> Detections:
        """The people in an image (H, W, 3) uint8 RGB, upright.

        Raises ValueError or TypeError for results that are none, RuntimeError where the detector
        itself raises.
        """
        return self._detect(image)


def open_detector(
    detector: AnyDetector | None = None,
    *,
    keypoint_set: KeypointSet | None = None,
    min_score: float = MIN_PERSON_SCORE,
    engine: EngineOptions | None = None,
) -> NamedDetector:
    """A detector by name, or from a callable (see the module).

    Args:
        detector: "movenet" (None), "rtmlib:body", "rtmlib:body_with_feet", "rtmlib:wholebody",
            "ultralytics:FILE" with a model of Ultralytics for poses, or a callable.
        keypoint_set: What the keypoints of a callable's arrays are; inferred from K if left out.
        min_score: Persons with a lower score are left out. For arrays, the score is the mean of the
            keypoints'.
        engine: Threads and provider of MoveNet.

    Raises:
        TypeError, ValueError: `detector` is no detector, or its name is unknown.
        ImportError: Its library is not installed; the message says what to install.
    """
    if isinstance(detector, NamedDetector):
        return detector
    name = DEFAULT_DETECTOR if detector is None else detector
    if not isinstance(name, str):
        if not callable(name):
            raise TypeError(
                f"detector is {shown(name)} of type {type(name).__name__}, expected a callable or "
                f"one of {_NAMES}"
            )
        if isinstance(name, MovenetDetector):
            return NamedDetector(DEFAULT_DETECTOR, name, shareable=True)
        return _of_callable(_name_of(name), name, keypoint_set, min_score)
    if name == DEFAULT_DETECTOR:
        movenet = MovenetDetector(MovenetOptions(min_score=min_score), engine=engine)
        return NamedDetector(name, movenet, shareable=True)
    library, _, model = name.partition(":")
    if library == "rtmlib" and model in _RTMLIB_CLASSES:
        found: Any = _imported("rtmlib")
        return _of_callable(name, getattr(found, _RTMLIB_CLASSES[model])(), keypoint_set, min_score)
    if library == "ultralytics" and model:
        return _of_callable(name, _imported("ultralytics").YOLO(model), keypoint_set, min_score)
    raise ValueError(f"unknown detector {shown(name)}; known are {_NAMES}, or pass a callable")


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            f'{library} is not installed ({error}): pip install "dualhmr[{library}]"'
        ) from error


def _name_of(detector: Callable[..., Any]) -> str:
    kind = detector if hasattr(detector, "__qualname__") else type(detector)
    return f"{kind.__module__}.{kind.__qualname__}"


def _library_of(detector: object) -> str:
    return type(detector).__module__.partition(".")[0]


def _of_callable(
    name: str,
    detector: Callable[..., Any],
    keypoint_set: KeypointSet | None,
    min_score: float,
) -> NamedDetector:
    library = _library_of(detector)

    def detect(image: npt.NDArray[np.uint8]) -> Detections:
        try:
            if library in ("rtmlib", "ultralytics"):
                image = np.ascontiguousarray(image[..., ::-1])  # as OpenCV has it
            options = {"verbose": False} if library == "ultralytics" else {}
            result = detector(image, **options)
        except Exception as error:
            message = brief(error) if str(error) else type(error).__name__
            raise RuntimeError(f"detector {name} failed: {message}") from error
        try:
            found = _as_detections(result, keypoint_set)
        except (ValueError, TypeError) as error:
            raise type(error)(f"detector {name}: {error}") from error
        return found.select(found.person_scores >= min_score)

    return NamedDetector(name, detect)


def _as_detections(result: Any, keypoint_set: KeypointSet | None) -> Detections:
    if isinstance(result, Detections):
        return result
    if _is_ultralytics(result):
        return _from_ultralytics(result[0], keypoint_set)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"it returned {shown(result)} of type {type(result).__name__}, expected Detections or "
            "a pair of arrays, keypoints (P, K, 2) and scores (P, K)"
        )
    keypoints, scores = (
        _numbers(each, what) for each, what in zip(result, ("keypoints", "scores"), strict=True)
    )
    keypoint_set = _checked_set(keypoints, scores, keypoint_set)
    persons = len(keypoints)
    scores = scores.clip(0, 1)
    return Detections(
        keypoint_set,
        keypoints,
        scores,
        keypoint_boxes(keypoints, scores, min_score=_BOX_SCORE),
        scores.mean(1) if persons else np.zeros(0, np.float32),
    )


def _numbers(values: Any, what: str) -> npt.NDArray[np.float32]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"its {what} are not one array: {brief(error)}") from error
    if array.size == 0:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"its {what} are of type {array.dtype}, expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"its {what} have numbers that are not finite")
    return numbers


def _checked_set(
    keypoints: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    keypoint_set: KeypointSet | None,
) -> KeypointSet:
    """The set of arrays that fit each other. Raises ValueError for others."""
    if keypoints.ndim != 3 or keypoints.shape[2] != 2 or scores.shape != keypoints.shape[:2]:
        raise ValueError(
            f"it returned keypoints of shape {keypoints.shape} and scores of shape "
            f"{scores.shape}, expected (P, K, 2) and (P, K)"
        )
    check_unit_scale(scores if scores.size else np.zeros(1, np.float32))
    count = keypoints.shape[1]
    if keypoint_set is None:
        return keypoint_set_for_count(count)
    if len(keypoint_set) != count:
        raise ValueError(
            f"it returned {count} keypoints a person, but {keypoint_set.name} has "
            f"{len(keypoint_set)}"
        )
    return keypoint_set


def _is_ultralytics(result: Any) -> bool:
    return isinstance(result, list) and len(result) == 1 and _library_of(result[0]) == "ultralytics"


def _from_ultralytics(result: Any, keypoint_set: KeypointSet | None) -> Detections:
    """Of one `ultralytics.engine.results.Results`."""
    if result.keypoints is None or result.boxes is None:
        raise ValueError("its results have no keypoints; use a model for poses, as yolo11n-pose.pt")
    result = result.cpu().numpy()
    data = _numbers(result.keypoints.data, "keypoints")
    if data.size == 0:
        data = np.zeros((0, data.shape[1] if data.ndim == 3 else 17, 3), np.float32)
    keypoints = np.ascontiguousarray(data[..., :2])
    # (0, 0) is its way to say that a keypoint was not found.
    found = (keypoints != 0).any(-1)
    scores = data[..., 2] * found if data.shape[-1] == 3 else found.astype(np.float32)
    boxes = _numbers(result.boxes.xyxy, "boxes").reshape(-1, 4)
    person_scores = _numbers(result.boxes.conf, "scores of boxes").reshape(-1)
    keypoint_set = _checked_set(keypoints, scores, keypoint_set)
    return Detections(keypoint_set, keypoints, scores.clip(0, 1), boxes, person_scores.clip(0, 1))
