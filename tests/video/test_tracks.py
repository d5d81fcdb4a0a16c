"""Tracks of people who walk, cross, hide and come late."""

from collections.abc import Sequence

import numpy as np
import pytest
from helpers.standing_person import standing_person

from dualhmr.detection import Detections
from dualhmr.keypoints import COCO_17
from dualhmr.video.tracks import Tracker, TrackingOptions

FPS = 25.0


def people(*places: tuple[float, float], heights: Sequence[float] = ()) -> Detections:
    """Persons who stand at (x, y) pixels."""
    sizes = heights or [200.0] * len(places)
    keypoints = [
        standing_person(middle=place, height=size)
        for place, size in zip(places, sizes, strict=True)
    ]
    points = np.array(keypoints, np.float32).reshape(-1, 17, 2)
    count = len(points)
    corners = [points.min(1), points.max(1)] if count else [np.zeros((0, 2), np.float32)] * 2
    return Detections(
        COCO_17,
        points,
        np.full((count, 17), 0.9, np.float32),
        np.concatenate(corners, 1),
        np.full(count, 0.9, np.float32),
    )


def numbers(tracker: Tracker, frame: int, found: Detections) -> list[int]:
    return [track.number for track in tracker.update(found, frame / FPS)]


def test_people_who_cross_keep_their_numbers() -> None:
    """Also while one hides the other, and whatever the order of the detector."""
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame in range(80):
        left, right = (100 + 5.0 * frame, 300.0), (500 - 5.0 * frame, 305.0)
        places = {1: left, 2: right}
        if 36 <= frame < 44:
            del places[2]  # hidden
        order = list(places) if frame == 0 or rng.random() < 0.5 else list(places)[::-1]
        assert numbers(tracker, frame, people(*(places[each] for each in order))) == order


@pytest.mark.parametrize(("seconds", "same"), [(0.4, True), (0.6, False)])
def test_a_gap_up_to_the_tolerance(seconds: float, same: bool) -> None:
    tracker = Tracker(TrackingOptions(gap_s=0.5))
    for frame in range(10):
        assert numbers(tracker, frame, people((100 + 3 * frame, 300))) == [1]
    back = 9 + round(seconds * FPS)
    assert numbers(tracker, back, people((100 + 3 * back, 300))) == [1 if same else 2]
    assert len(tracker.tracks) == 1


def test_times_count_and_not_frames() -> None:
    """A fast person, seen at uneven times: velocity times the seconds predicts the place."""
    tracker = Tracker()
    for time_s in (0.0, 0.04, 0.08, 0.12, 0.42, 0.46, 0.90):
        (track,) = tracker.update(people((100 + 600 * time_s, 300)), time_s)
        assert track.number == 1


def test_an_error_of_the_detector_takes_nobodys_place() -> None:
    tracker = Tracker(TrackingOptions(confirmed_after=3))
    for frame in range(5):
        (track,) = tracker.update(people((200, 300)), frame / FPS)
        assert tracker.is_confirmed(track) == (frame >= 2)
    # A ghost beside the person, and then one of both in between.
    assert numbers(tracker, 5, people((200, 300), (240, 300))) == [1, 2]
    assert numbers(tracker, 6, people((221, 300))) == [1]


def test_others_come_and_nobody_is_there() -> None:
    tracker = Tracker()
    assert numbers(tracker, 0, people()) == []
    assert numbers(tracker, 1, people((300, 300), (100, 300))) == [1, 2]
    assert numbers(tracker, 2, people()) == []
    far = people((100, 300), (300, 300), (302, 310), heights=[200, 200, 60])
    assert numbers(tracker, 3, far) == [2, 1, 3], "somebody much smaller is somebody else"


def test_keypoints_that_either_lacks_say_nothing() -> None:
    tracker = Tracker()
    assert numbers(tracker, 0, people((200, 300))) == [1]
    hidden = people((203, 300))
    hidden.scores[0, 11:] = 0
    hidden.keypoints[0, 11:] = 0
    assert numbers(tracker, 1, hidden) == [1]


@pytest.mark.parametrize("wrong", [{"gap_s": -1}, {"min_similarity": 1}, {"confirmed_after": 0}])
def test_options_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is -?[01], expected"):
        TrackingOptions(**wrong)  # type: ignore[arg-type]
