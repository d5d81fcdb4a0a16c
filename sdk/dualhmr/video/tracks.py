"""Who is who from frame to frame: keypoints and boxes matched with those that tracks predict.

Small enough to be our own: of ready trackers, norfair needs filterpy (last released in 2018),
supervision brings Matplotlib, and trackers OpenCV and supervision. What is matched is not a box
alone but a person's keypoints, which tell people apart who cross.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.detection.detections import Detections, keypoint_boxes
from dualhmr.detection.similarity import keypoint_similarity
from dualhmr.keypoints import KeypointSet

FloatArray = npt.NDArray[np.float32]

_COUNTED_SCORE = 0.2
"""Keypoints with a lower score do not count for boxes."""
_VELOCITY_S = 0.2
"""Over which velocities are averaged: keypoints are unsure by more than people move in a frame."""
_UNSURE_S = 0.25
"""After which a person may be twice as far from what was expected."""
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_COLOUR_SHARE = 0.2
"""Of the newest colour in that of a track."""
_COLOUR_SPREAD = 0.15
"""Distance in RGB, [0, 1], up to which colours of clothes are alike: light changes them."""
_LONGEST_STEP_S = 0.5
"""People do not keep their velocity for longer: what is predicted stands still then."""


@dataclass(frozen=True)
class TrackingOptions:
    """When a person of one frame is one of the frame before. Raises ValueError for other values."""

    min_similarity: float = 0.2
    """Mean of OKS and of the boxes' intersection over union, with what a track predicts."""
    gap_s: float = 1.0
    """A track ends when its person was not seen for longer."""
    confirmed_after: int = 3
    """Frames with the person, before which a track may be an error of the detector."""

    def __post_init__(self) -> None:
        if not 0 < self.min_similarity < 1:
            raise ValueError(f"min_similarity is {self.min_similarity}, expected within (0, 1)")
        if not 0 <= self.gap_s < 3600:
            raise ValueError(f"gap_s is {self.gap_s}, expected seconds, 0 or more")
        if self.confirmed_after < 1:
            raise ValueError(f"confirmed_after is {self.confirmed_after}, expected 1 or more")


class Track:
    """One person over time: where they were seen last, and how they move."""

    def __init__(self, number: int, people: Detections, person: int, time_s: float) -> None:
        self.number = number
        """Counted from 1 in the order of appearance; never used again."""
        self.hits = 0
        self.time_s = self.detected_s = time_s
        """When the person was seen last, and when a look at the whole frame found them last."""
        self.velocity = np.zeros(2)
        """Pixels a second."""
        self.colour: npt.NDArray[np.float64] | None = None
        """(3,) RGB of the clothes in [0, 1], a mean over frames."""
        self._see(people, person, time_s)

    def __repr__(self) -> str:
        return f"Track({self.number}, seen in {self.hits} frames, last at {self.time_s:.3f} s)"

    def _see(self, people: Detections, person: int, time_s: float) -> None:
        self.keypoints = people.keypoints[person]
        """(K, 2) pixels, where they were seen last."""
        self.scores = people.scores[person]
        self.box: FloatArray = _boxes(people)[person]
        self.hits, self.time_s = self.hits + 1, time_s

    def update(self, people: Detections, person: int, time_s: float, *, detected: bool) -> None:
        """The person was seen again; `detected`, in the whole frame, not only where expected."""
        if detected:
            self.detected_s = time_s
        # Not of the box, which jumps where a limb is hidden.
        both = np.minimum(self.scores, people.scores[person]) >= _COUNTED_SCORE
        moved = (people.keypoints[person] - self.keypoints)[both]
        seconds = time_s - self.time_s
        self._see(people, person, time_s)
        if seconds > 0 and len(moved):
            newest = np.median(moved, axis=0) / seconds
            share = 1.0 if self.hits == 2 else 1 - math.exp(-seconds / _VELOCITY_S)
            self.velocity = (1 - share) * self.velocity + share * newest

    def shift(self, time_s: float) -> FloatArray:
        """(2,) pixels from where the person was seen last to where they are expected."""
        seconds = min(time_s - self.time_s, _LONGEST_STEP_S)
        return (self.velocity * seconds).astype(np.float32)

    def wear(self, colour: npt.NDArray[np.float64]) -> None:
        """The colour (3,) of the person's clothes in this frame, NaN where it is not seen."""
        if np.isfinite(colour).all():
            before = colour if self.colour is None else self.colour
            self.colour = before + _COLOUR_SHARE * (colour - before)

    def similarity(
        self, people: Detections, time_s: float, colours: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """(P,) in [0, 1], of each person, in clothes of `colours` (P, 3), with what is expected."""
        shift = self.shift(time_s)
        box = self.box + np.tile(shift, 2)
        area = float(np.prod(np.maximum(box[2:] - box[:2], 1.0)))
        area *= (1 + (time_s - self.time_s) / _UNSURE_S) ** 2
        similar = np.zeros(len(people))
        for person in range(len(people)):
            # Shared keypoints alone: one that either frame lacks says nothing.
            (similar[person],) = keypoint_similarity(
                people.keypoints[[person]],
                self.keypoints + shift,
                weights=np.minimum(self.scores, people.scores[person]),
                area=area,
                keypoint_set=people.keypoint_set,
            )
        return (0.5 * similar + 0.5 * overlap(box, _boxes(people))) * self._alike(colours)

    def _alike(self, colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(P,) from 1 for the same colour to 0.5 for another; 1 where either is not known."""
        if self.colour is None:
            return np.ones(len(colours))
        away = np.linalg.norm(colours - self.colour, axis=1)
        return 0.5 + 0.5 * np.exp(-0.5 * (np.nan_to_num(away) / _COLOUR_SPREAD) ** 2)


class Tracker:
    """Gives people the numbers of their tracks, frame by frame; the same input, the same numbers.

    Raises ImportError where SciPy is not installed.
    """

    def __init__(self, options: TrackingOptions | None = None) -> None:
        self.options = options or TrackingOptions()
        self.tracks: list[Track] = []
        """Those that have not ended, oldest first."""
        self._assign = _scipy_assignment()
        self._count = 0

    def update(
        self,
        people: Detections,
        time_s: float,
        *,
        detected: int | None = None,
        pixels: npt.NDArray[np.uint8] | None = None,
    ) -> list[Track]:
        """The track of each person of a frame `time_s` seconds after the first; new ones begin.

        The first `detected` people (None: all) are from a look at the whole frame. With `pixels`
        (H, W, 3) the colour of clothes counts, too. Frames come in order. Tracks with confirmed
        people choose first, so that a detector's error takes nobody's place.
        """
        colours = clothes_colours(people, pixels)
        found = self._match(people, time_s, colours)
        for person, track in found.items():
            track.update(people, person, time_s, detected=detected is None or person < detected)
        for person in range(len(people)):
            if person not in found:
                self._count += 1
                found[person] = Track(self._count, people, person, time_s)
                self.tracks.append(found[person])
            found[person].wear(colours[person])
        return [found[person] for person in range(len(people))]

    def missing(
        self,
        people: Detections,
        time_s: float,
        *,
        pixels: npt.NDArray[np.uint8] | None = None,
    ) -> list[Track]:
        """Confirmed tracks that nobody of `people` belongs to."""
        colours = clothes_colours(people, pixels)
        found = {track.number for track in self._match(people, time_s, colours).values()}
        return [
            track for track in self.tracks if track.number not in found and self.is_confirmed(track)
        ]

    def is_confirmed(self, track: Track) -> bool:
        """Whether a track was seen often enough to be a person."""
        return track.hits >= self.options.confirmed_after

    def _match(
        self, people: Detections, time_s: float, colours: npt.NDArray[np.float64]
    ) -> dict[int, Track]:
        """Tracks by person; tracks whose gap is too long end here."""
        gap = self.options.gap_s + 1e-6
        self.tracks = [track for track in self.tracks if time_s - track.time_s <= gap]
        found: dict[int, Track] = {}
        for confirmed in (True, False):
            chosen = [track for track in self.tracks if self.is_confirmed(track) == confirmed]
            left = [person for person in range(len(people)) if person not in found]
            found |= self._matched(chosen, people.select(left), colours[left], left, time_s)
        return found

    def _matched(
        self,
        tracks: Sequence[Track],
        people: Detections,
        colours: npt.NDArray[np.float64],
        numbers: Sequence[int],
        time_s: float,
    ) -> dict[int, Track]:
        if not tracks or not numbers:
            return {}
        similar = np.stack([track.similarity(people, time_s, colours) for track in tracks])
        # What may not be matched must not draw others away from what may.
        allowed = similar >= self.options.min_similarity
        rows, columns = self._assign(np.where(allowed, similar, 0.0), maximize=True)
        return {
            numbers[column]: tracks[row]
            for row, column in zip(rows, columns, strict=True)
            if allowed[row, column]
        }


def expected_people(tracks: Sequence[Track], time_s: float, names: KeypointSet) -> Detections:
    """Where the people of tracks, whose keypoints are of the set `names`, should be now."""
    shifts = [track.shift(time_s) for track in tracks]
    pairs = list(zip(tracks, shifts, strict=True))
    count = len(names)
    return Detections(
        names,
        np.array([track.keypoints + shift for track, shift in pairs], np.float32).reshape(
            -1, count, 2
        ),
        np.array([track.scores for track in tracks], np.float32).reshape(-1, count),
        np.array([track.box + np.tile(shift, 2) for track, shift in pairs], np.float32).reshape(
            -1, 4
        ),
        np.array([track.scores.mean() for track in tracks], np.float32),
    )


def clothes_colours(
    people: Detections, pixels: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.float64]:
    """(P, 3) RGB in [0, 1], the median between shoulders and hips; NaN where these are unsure."""
    colours = np.full((len(people), 3), np.nan)
    names = people.keypoint_set.names
    corners = [names.index(name) for name in _TORSO if name in names]
    if pixels is None or len(corners) < len(_TORSO):
        return colours
    for person in range(len(people)):
        if people.scores[person, corners].min() < _COUNTED_SCORE:
            continue
        points = people.keypoints[person, corners]
        # The middle half, as arms and what is behind are at the sides.
        low, high = (points.min(0) * 3 + points.max(0)) / 4, (points.min(0) + points.max(0) * 3) / 4
        (left, top), (right, bottom) = np.floor(low).astype(int), np.ceil(high).astype(int) + 1
        part = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if part.size:
            colours[person] = np.median(part.reshape(-1, 3), axis=0) / 255
    return colours


def _boxes(people: Detections) -> FloatArray:
    return keypoint_boxes(people.keypoints, people.scores, min_score=_COUNTED_SCORE)


def overlap(box: FloatArray, others: FloatArray) -> npt.NDArray[np.float64]:
    """Intersection over union (P,) of a box (4,) with others (P, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float64)


def _scipy_assignment() -> Any:
    try:
        return importlib.import_module("scipy.optimize").linear_sum_assignment
    except ImportError as error:
        raise ImportError(
            f'matching people needs SciPy ({error}): pip install "dualhmr[video]"'
        ) from error
