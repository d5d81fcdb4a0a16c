"""The default detector: Google's MoveNet in ONNX Runtime, in two looks.

MoveNet MultiPose finds people in the whole photograph, made smaller; MoveNet Thunder then looks at
a square crop around each of them, and finds the keypoints anew. Each network knows people of some
sizes only: MultiPose sees the photograph at two sizes, so that people who fill it are found and
people of a tenth of its side, too. Sizes and thresholds were chosen on 11 photographs with 15
people, mirrored, made smaller and cropped (docs/results/detection.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.detection.detections import Detections, keypoint_boxes
from dualhmr.detection.movenet_maps import people_in_maps, person_in_maps
from dualhmr.detection.regions import (
    MULTIPLE,
    Region,
    bounded,
    first_regions,
    picture_of,
    square_around,
)
from dualhmr.detection.similarity import keypoint_similarity
from dualhmr.engines.frozen_network import EngineOptions, provider_for
from dualhmr.engines.onnxruntime_session import open_session, run_session
from dualhmr.keypoints import COCO_17

FloatArray = npt.NDArray[np.float32]

ASSETS = Path(__file__).parents[1] / "assets" / "movenet"
_CROP_SIDE = 256
_SAME_PERSON = 0.1
"""OKS of both looks at one person; below it the second look saw somebody else."""
_DOUBLE = 0.5
"""OKS above which two people are one."""
_AREA = 0.8
"""Area of a person, in areas of the box around the keypoints."""
MOVENET_SCORE_RANGE = (0.1, 0.7)
"""Of labelled keypoints, 19 % of those with a score below 0.1 are within 5 % of the box, and all of
those above 0.6: see docs/results/detection.md."""


@dataclass(frozen=True)
class MovenetOptions:
    """Settings of `MovenetDetector`."""

    sides: tuple[int, ...] = (384, 192)
    """Pixels of the photograph's longer side, for each first look."""
    min_score: float = 0.2
    """Of people; and of keypoints that the second look's crop is put around."""
    second_look: bool = True
    """Whether MoveNet Thunder looks at a crop of each person."""
    tiles: int = 1
    """Above 1, the first look also sees this many overlapping tiles along each side, at the first
    of `sides`: for small people. Time grows with its square."""
    most: int = 100
    """People, of one look."""

    def __post_init__(self) -> None:
        if not self.sides or not all(MULTIPLE <= side <= 4096 for side in self.sides):
            raise ValueError(f"sides are {self.sides}, expected pixels from {MULTIPLE} to 4096")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, expected a number in [0, 1]")
        if not 1 <= self.tiles <= 8:
            raise ValueError(f"tiles is {self.tiles}, expected 1 to 8")
        if self.most < 1:
            raise ValueError(f"most is {self.most}, expected at least 1 person")


class MovenetDetector:
    """Finds people and COCO's 17 keypoints. Build it once and use it for many photographs.

    Raises ImportError where ONNX Runtime is not installed, RuntimeError where its provider cannot
    be started.
    """

    def __init__(
        self, options: MovenetOptions | None = None, *, engine: EngineOptions | None = None
    ) -> None:
        self.options = options or MovenetOptions()
        self._multipose, self._thunder = (
            MovenetNetwork(ASSETS / f"{name}.onnx", engine or EngineOptions())
            for name in ("multipose", "thunder")
        )

    def __repr__(self) -> str:
        return f"MovenetDetector({self.options})"

    def __call__(self, image: npt.NDArray[np.uint8]) -> Detections:
        """The people in an image (H, W, 3) uint8 RGB, best first; perhaps none."""
        photograph, shrunk = bounded(Image.fromarray(image))
        found = self._first_look(photograph)
        if self.options.second_look:
            found = self._without_doubles(self._second_look(photograph, found))
        return _scaled(found, shrunk)

    def follow(
        self, image: npt.NDArray[np.uint8], expected: Detections
    ) -> tuple[Detections, list[int]]:
        """Looks for people in the next frame of a video where they are `expected`, and only there.

        One run of the second look's network a person. Returns those who are found, and their
        numbers among the expected. Somebody is lost whose keypoints are elsewhere or unsure, or
        those of another one: a person who hides another is seen in the place of both.
        """
        photograph, shrunk = bounded(Image.fromarray(image))
        there = _scaled(expected, (1 / shrunk[0], 1 / shrunk[1]))
        boxes = keypoint_boxes(there.keypoints, there.scores, min_score=self.options.min_score)
        keypoints, scores, found = there.keypoints.copy(), there.scores.copy(), []
        for person, box in enumerate(boxes):
            again = self._look_at(photograph, box, there.keypoints[person], there.scores[person])
            if again is not None and again[1].mean() >= self.options.min_score:
                keypoints[person], scores[person] = again
                found.append(person)
        boxes = keypoint_boxes(keypoints, scores, min_score=self.options.min_score)
        people = Detections(COCO_17, keypoints, scores, boxes, scores.mean(1)).select(found)
        own = sorted(self._distinct(people))
        return _scaled(people.select(own), shrunk), [found[each] for each in own]

    def _first_look(self, photograph: Image.Image) -> Detections:
        everybody = [
            self._people(photograph, region, side)
            for region, side in first_regions(
                photograph.size, self.options.sides, tiles=self.options.tiles
            )
        ]
        return self._without_doubles(_joined(everybody))

    def _people(self, photograph: Image.Image, region: Region, side: int) -> Detections:
        picture = picture_of(photograph, region, side)
        options = self.options
        people = people_in_maps(
            self._multipose(picture.pixels), most=options.most, min_score=options.min_score
        )
        found = Detections(
            COCO_17,
            picture.to_photograph(people.keypoints),
            people.scores.clip(0, 1),
            picture.to_photograph(people.boxes.reshape(-1, 2, 2)).reshape(-1, 4),
            people.person_scores.clip(0, 1),
        )
        return found.select(found.person_scores > options.min_score)

    def _second_look(self, photograph: Image.Image, found: Detections) -> Detections:
        keypoints, scores = found.keypoints.copy(), found.scores.copy()
        boxes = keypoint_boxes(keypoints, scores, min_score=self.options.min_score)
        for person, box in enumerate(boxes):
            again = self._look_at(photograph, box, keypoints[person], scores[person])
            if again is not None:
                keypoints[person], scores[person] = again
        return Detections(COCO_17, keypoints, scores, found.boxes, found.person_scores)

    def _look_at(
        self, photograph: Image.Image, box: FloatArray, keypoints: FloatArray, scores: FloatArray
    ) -> tuple[FloatArray, FloatArray] | None:
        """Keypoints (17, 2) and scores (17,) of a person with such ones; None for another one."""
        region = square_around(box)
        if region.width < 8:
            return None  # nothing to see
        picture = picture_of(photograph, region, _CROP_SIDE)
        again, again_scores = person_in_maps(self._thunder(picture.pixels))
        again = picture.to_photograph(again)
        if _similarity(again[None], keypoints, scores, box)[0] < _SAME_PERSON:
            return None
        return again, again_scores.clip(0, 1)

    def _without_doubles(self, found: Detections) -> Detections:
        """Without people who are like somebody with a better score; best first."""
        return found.select(self._distinct(found))

    def _distinct(self, found: Detections) -> list[int]:
        boxes = keypoint_boxes(found.keypoints, found.scores, min_score=self.options.min_score)
        kept: list[int] = []
        for person in np.argsort(-found.person_scores, kind="stable").tolist():
            if all(
                _similarity(
                    found.keypoints[[person]],
                    found.keypoints[other],
                    found.scores[other],
                    boxes[other],
                )[0]
                < _DOUBLE
                for other in kept
            ):
                kept.append(person)
        return kept


class MovenetNetwork:
    """A session whose input is one picture, and whose outputs are maps by name."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._path = path
        provider = provider_for(options.provider, "cpu")
        self._session = open_session(
            path, provider, device_index=0, options=options, precision="fp32"
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Mapping[str, FloatArray]:
        """Maps (C, h/4, w/4) of a picture (h, w, 3) RGB, h and w multiples of 32."""
        maps = run_session(self._path, self._session.run, self._names, {"image": pixels[None]})
        return dict(zip(self._names, maps, strict=True))


def _similarity(
    keypoints: FloatArray, reference: FloatArray, scores: FloatArray, box: FloatArray
) -> npt.NDArray[np.float64]:
    left, top, right, bottom = (float(each) for each in box)
    area = _AREA * (right - left) * (bottom - top)
    return keypoint_similarity(keypoints, reference, weights=scores, area=area)


def _scaled(people: Detections, scale: tuple[float, float]) -> Detections:
    """In a picture whose pixels along x and y are `scale` of those here."""
    factor = np.array(scale, np.float32)
    return Detections(
        COCO_17,
        (people.keypoints + np.float32(0.5)) * factor - np.float32(0.5),
        people.scores,
        people.boxes * np.tile(factor, 2),
        people.person_scores,
        MOVENET_SCORE_RANGE,
    )


def _joined(parts: list[Detections]) -> Detections:
    return Detections(
        COCO_17,
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.person_scores for part in parts]),
    )
