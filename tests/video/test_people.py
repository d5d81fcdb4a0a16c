"""Finding a video's people with a detector that runs sometimes, or misses somebody."""

from typing import Any

import numpy as np
import pytest
from helpers.standing_person import standing_person

from dualhmr.detection import Detections
from dualhmr.detection.adapters import NamedDetector
from dualhmr.keypoints import COCO_17
from dualhmr.video.people import TrackedPeople
from dualhmr.video.tracks import TrackingOptions

FPS = 10.0
BLACK = np.zeros((4, 4, 3), np.uint8)


def people(*columns: float) -> Detections:
    points = np.array([standing_person(middle=(x, 250)) for x in columns], np.float32)
    points = points.reshape(-1, 17, 2)
    boxes = np.concatenate([points.min(1), points.max(1)], 1) if columns else np.zeros((0, 4))
    scores = np.full((len(columns), 17), 0.9, np.float32)
    return Detections(COCO_17, points, scores, boxes.astype(np.float32), scores.mean(1))


class Scene:
    """People who walk at 20 pixels a second, and a detector that counts its runs."""

    def __init__(self, *, misses: Any = ()) -> None:
        self.frame, self.runs, self.looks, self.misses = 0, 0, 0, misses
        self.detector = NamedDetector("scene", self.detect)
        self.detector.follow = self.follow  # type: ignore[assignment]

    def columns(self) -> list[float]:
        return [100 + 2.0 * self.frame, 700 - 2.0 * self.frame]

    def detect(self, _: Any) -> Detections:
        self.runs += 1
        return people(*(self.columns()[:1] if self.frame in self.misses else self.columns()))

    def follow(self, _: Any, expected: Detections) -> tuple[Detections, list[int]]:
        self.looks += len(expected)
        there = [float(each[:, 0].mean()) for each in expected.keypoints]
        found = [
            number
            for number, x in enumerate(there)
            if min(abs(x - column) for column in self.columns()) < 30
        ]
        near = [min(self.columns(), key=lambda column: abs(column - there[n])) for n in found]
        return people(*near), found

    def tracks(self, found: TrackedPeople, frames: int) -> list[list[int]]:
        numbers = []
        for self.frame in range(frames):
            _, tracks = found(BLACK, self.frame / FPS)
            numbers.append(sorted(track.number for track in tracks))
        return numbers


def test_the_detector_runs_on_every_nth_frame() -> None:
    scene = Scene()
    assert scene.tracks(TrackedPeople(scene.detector, detect_every=4), 12) == [[1, 2]] * 12
    # Once more after each frame before the first people are confirmed.
    assert scene.runs == 3 + 2
    assert scene.looks == 2 * (12 - scene.runs)


def test_whom_the_detector_misses_is_looked_for() -> None:
    scene = Scene(misses=range(5, 9))
    assert scene.tracks(TrackedPeople(scene.detector), 14) == [[1, 2]] * 14
    assert (scene.runs, scene.looks) == (14, 4)


def test_nobody_is_followed_for_longer_than_a_gap() -> None:
    """A ghost would follow its own picture for ever."""
    scene = Scene(misses=range(5, 99))
    numbers = scene.tracks(TrackedPeople(scene.detector, TrackingOptions(gap_s=0.5)), 20)
    assert numbers[:10] == [[1, 2]] * 10
    assert numbers[11:] == [[1]] * 9


def test_a_detector_that_cannot_follow() -> None:
    plain = NamedDetector("plain", lambda _: people(100))
    with pytest.raises(ValueError, match="detector plain cannot follow people between its runs"):
        TrackedPeople(plain, detect_every=2)
    with pytest.raises(ValueError, match="detect_every is 0, expected 1 or more"):
        TrackedPeople(plain, detect_every=0)
    assert len(TrackedPeople(plain)(BLACK, 0.0)[1]) == 1
