"""Who finds the people of photographs that come without keypoints."""

from dataclasses import replace

from dualhmr.detection import AnyDetector, NamedDetector, open_detector
from dualhmr.engines import EngineOptions
from dualhmr.images import LoadedImage
from dualhmr.keypoints import KeypointSet, keypoint_set
from dualhmr.recoverer.observation import Given


class PeopleFinder:
    """Opens detectors when they are needed, each by its name once."""

    def __init__(self, default: AnyDetector | None, *, threads: int | None) -> None:
        self._default = default
        self._engine = EngineOptions(threads=threads)
        self._opened: dict[tuple[str | None, KeypointSet | None], NamedDetector] = {}

    def open(self, detector: AnyDetector | None, names: str | KeypointSet | None) -> NamedDetector:
        """The detector, or for None the default one; see `open_detector`.

        `names` are of the keypoints of a callable's arrays.
        """
        chosen = self._default if detector is None else detector
        known = None if names is None else keypoint_set(names)
        if chosen is not None and not isinstance(chosen, str):
            return open_detector(chosen, keypoint_set=known, engine=self._engine)
        key = (chosen, known)
        if key not in self._opened:
            self._opened[key] = open_detector(chosen, keypoint_set=known, engine=self._engine)
        return self._opened[key]

    def with_people(self, photo: LoadedImage, given: Given, detector: AnyDetector | None) -> Given:
        """What was given, or what a detector finds where neither keypoints nor boxes were.

        Raises ValueError for what does not go together, and what detectors raise.
        """
        if given.keypoints is not None or given.boxes is not None:
            if detector is not None:
                what = "keypoints" if given.keypoints is not None else "boxes"
                raise ValueError(f"a detector came with {what}; leave one of them out")
            return given
        for name in ("scores", "crops"):
            if getattr(given, name) is not None:
                raise ValueError(f"{name} came without the keypoints or boxes that they belong to")
        found = self.open(detector, given.keypoint_set)(photo.pixels)
        return replace(given, keypoints=found.to_keypoints(), keypoint_set=None)
