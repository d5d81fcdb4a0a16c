"""Who finds the people of photographs that come without keypoints."""

from contextlib import nullcontext
from dataclasses import replace
from threading import Lock

from dualhmr.detection import AnyDetector, NamedDetector, open_detector
from dualhmr.engines import EngineOptions
from dualhmr.images import LoadedImage
from dualhmr.keypoints import KeypointSet, keypoint_set
from dualhmr.recoverer.photo import Photo


class PeopleFinder:
    """Opens detectors when they are needed, each by its name once; threads may share it."""

    def __init__(self, default: AnyDetector | None, *, threads: int | None) -> None:
        self._default = default
        self._engine = EngineOptions(threads=threads)
        self._opened: dict[tuple[str | None, KeypointSet | None], NamedDetector] = {}
        self._opening, self._turn = Lock(), Lock()

    def open(self, detector: AnyDetector | None, names: str | KeypointSet | None) -> NamedDetector:
        """The detector, or for None the default one; see `open_detector`.

        `names` are of the keypoints of a callable's arrays.
        """
        chosen = self._default if detector is None else detector
        known = None if names is None else keypoint_set(names)
        if chosen is not None and not isinstance(chosen, str):
            return open_detector(chosen, keypoint_set=known, engine=self._engine)
        key = (chosen, known)
        with self._opening:
            if key not in self._opened:
                self._opened[key] = open_detector(chosen, keypoint_set=known, engine=self._engine)
            return self._opened[key]

    def with_people(self, photo: Photo, image: LoadedImage, detector: AnyDetector | None) -> Photo:
        """What was passed, or with what a detector finds where no keypoints and boxes were.

        Raises ValueError for what does not go together, and what detectors raise.
        """
        if not photo.is_alone:
            if detector is not None:
                what = "keypoints" if photo.keypoints is not None else "boxes"
                raise ValueError(f"a detector came with {what}; leave one of them out")
            return photo
        for name in ("scores", "crops"):
            if getattr(photo, name) is not None:
                raise ValueError(f"{name} came without the keypoints or boxes that they belong to")
        if photo.pseudo_mesh is not None:
            raise ValueError(
                "pseudo_mesh came without keypoints and boxes, so nothing says whose it is; pass "
                "keypoints of the same people, as those of Recoverer.detect(image).to_keypoints()"
            )
        opened = self.open(detector, photo.keypoint_set)
        with nullcontext() if opened.shareable else self._turn:
            found = opened(image.pixels)
        return replace(photo, keypoints=found.to_keypoints(), keypoint_set=None)
