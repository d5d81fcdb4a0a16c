"""People who walk across small frames, and a detector that knows where they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.detection import Detections
from dualhmr.keypoints import COCO_17
from helpers.standing_person import standing_person

SIZE = (160, 120)


def frame(number: int) -> NDArray[np.uint8]:
    """(120, 160, 3) whose first pixels say its number, also after compression."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    pixels[:24, :24] = 10 * number
    return pixels


def people_at(*places: tuple[float, float], height: float = 80.0) -> Detections:
    """Persons whose hips are at these pixels."""
    points = [standing_person(middle=place, height=height) for place in places]
    keypoints = np.array(points, np.float32).reshape(-1, 17, 2)
    count = len(keypoints)
    corners = [keypoints.min(1), keypoints.max(1)] if count else [np.zeros((0, 2))] * 2
    return Detections(
        COCO_17,
        keypoints,
        np.full((count, 17), 0.9, np.float32),
        np.concatenate(corners, 1).astype(np.float32),
        np.full(count, 0.9, np.float32),
    )


def crossing(number: int) -> Detections:
    """Two people, the second the first in the list in odd frames; a third one in frame 4 alone."""
    people = [(30.0 + 6 * number, 60.0), (130.0 - 6 * number, 64.0)]
    if number % 2:
        people.reverse()
    return people_at(*people, *([(80.0, 20.0)] if number == 4 else []))


def detector(people: Callable[[int], Detections] = crossing) -> Callable[[Any], Detections]:
    """Says what `people` says of the frame whose number is in the pixels."""
    return lambda pixels: people(round(float(pixels[4:20, 4:20].mean()) / 10))
