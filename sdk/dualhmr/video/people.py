"""Finding a video's people: by the detector, and between its runs where they should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dualhmr.detection import Detections, NamedDetector
from dualhmr.keypoints import COCO_17
from dualhmr.video.tracks import Track, Tracker, TrackingOptions, expected_people, overlap

_SAME = 0.35
"""Intersection over union above which somebody followed is a person whom the detector found."""


class TrackedPeople:
    """Runs a detector on every n-th frame, follows people in the others, and gives them tracks.

    A person whom the detector misses in a frame is looked for where they should be, for as long as
    a gap may be. MoveNet can look there; with another detector it must be every frame, and gaps are
    gaps.
    """

    def __init__(
        self,
        detector: NamedDetector,
        options: TrackingOptions | None = None,
        *,
        detect_every: int = 1,
    ) -> None:
        """Raises ValueError for `detect_every` below 1, or above with another detector."""
        if detect_every < 1:
            raise ValueError(f"detect_every is {detect_every}, expected 1 or more frames")
        if detect_every > 1 and detector.follow is None:
            raise ValueError(
                f"detect_every is {detect_every}, but detector {detector.name} cannot follow "
                "people between its runs: leave it at 1, or use movenet"
            )
        self.tracker = Tracker(options)
        self._detector, self._every = detector, detect_every
        self._frames = 0
        self._last_run_s = 0.0

    def __call__(
        self, pixels: npt.NDArray[np.uint8], time_s: float
    ) -> tuple[Detections, list[Track]]:
        """The people of the next frame (H, W, 3), and the track of each."""
        nobody = not any(map(self.tracker.is_confirmed, self.tracker.tracks))
        runs = self._frames % self._every == 0 or (nobody and bool(self.tracker.tracks))
        self._frames = 1 if runs else self._frames + 1
        if runs:
            people = self._detector(pixels)
            detected = len(people)
            people = self._with_missed(pixels, people, time_s)
            self._last_run_s = time_s
        else:
            people, detected = self._followed(pixels, self.tracker.tracks, time_s), 0
        return people, self.tracker.update(people, time_s, detected=detected, pixels=pixels)

    def _with_missed(
        self, pixels: npt.NDArray[np.uint8], people: Detections, time_s: float
    ) -> Detections:
        # Not for ever: where a person was, something else may look like one.
        since = time_s - self.tracker.options.gap_s
        missed = [
            track
            for track in self.tracker.missing(people, time_s, pixels=pixels)
            if track.detected_s >= min(since, self._last_run_s)
        ]
        if not missed or self._detector.follow is None:
            return people
        found = self._followed(pixels, missed, time_s)
        new = [
            person
            for person in range(len(found))
            if not len(people) or overlap(found.boxes[person], people.boxes).max() < _SAME
        ]
        return _joined(people, found.select(new))

    def _followed(
        self, pixels: npt.NDArray[np.uint8], tracks: Sequence[Track], time_s: float
    ) -> Detections:
        follow = self._detector.follow
        assert follow is not None  # MoveNet, whose keypoints are COCO's
        return follow(pixels, expected_people(tracks, time_s, COCO_17))[0]


def _joined(people: Detections, more: Detections) -> Detections:
    return Detections(
        people.keypoint_set,
        np.concatenate([people.keypoints, more.keypoints]),
        np.concatenate([people.scores, more.scores]),
        np.concatenate([people.boxes, more.boxes]),
        np.concatenate([people.person_scores, more.person_scores]),
        people.score_range,
    )
