"""`Photo`: one photograph, and what is known of the people in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dualhmr.body.parameters import SMPLParameters
from dualhmr.keypoints import MIN_CONFIDENCE, KeypointSet


@dataclass(frozen=True, eq=False, repr=False)
class Photo:
    """One photograph, and what is passed with it; `dualhmr.recover` describes all of it."""

    image: Any
    """A path, the bytes of a file, a PIL image or an (H, W, 3) uint8 RGB array."""
    keypoints: Any = None
    """Of its P persons. None: a detector finds people, unless there are boxes."""
    boxes: Any = None
    """(P, 4) x0, y0, x1, y1 in image pixels, or `Box`es."""
    crops: Any = None
    """(P, 256, 192, 3) uint8 RGB, ready ones of these boxes."""
    pseudo_mesh: SMPLParameters | Sequence[SMPLParameters | None] | None = None
    """Of each person, in the camera frame; None: what the auxiliary network says."""
    scores: Any = None
    """(P, K) confidences, if they are not in `keypoints`."""
    score_scale: float = 1.0
    """The best score of the detector, by which confidences are divided."""
    min_confidence: float = MIN_CONFIDENCE
    """Keypoints below it count as missing."""
    keypoint_set: str | KeypointSet | None = None
    """What the K keypoints are; None: inferred from K."""
    focal_length: float | None = None
    """Image pixels; None: the guess of the bundle's networks."""
    principal_point: tuple[float, float] | None = None
    """Image pixels; None: the image's centre."""

    def __repr__(self) -> str:
        """In one line, without numbers."""
        what = self.image if isinstance(self.image, str) else type(self.image).__name__
        known = [name for name in ("keypoints", "boxes") if getattr(self, name) is not None]
        return f"Photo({', '.join([what, *known])})"

    @property
    def is_alone(self) -> bool:
        """Whether people have to be found in it."""
        return self.keypoints is None and self.boxes is None


Item: TypeAlias = Any
"""What streams take: a `Photo`, an image alone, or a function without arguments that gives either,
which is called when it is the item's turn."""


def as_photo(item: Item) -> Photo:
    """The photograph of an item. Raises TypeError for a pair, and what a function raises."""
    if callable(item):
        function: Callable[[], Item] = item
        item = function()
    if isinstance(item, tuple | list):
        raise TypeError(
            f"an item is a {type(item).__name__} of {len(item)}, expected an image or a Photo; "
            "pass dualhmr.Photo(image, keypoints)"
        )
    return item if isinstance(item, Photo) else Photo(item)
