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
    crops: Any = None
    pseudo_mesh: SMPLParameters | Sequence[SMPLParameters | None] | None = None
    scores: Any = None
    score_scale: float = 1.0
    min_confidence: float = MIN_CONFIDENCE
    keypoint_set: str | KeypointSet | None = None
    focal_length: float | None = None
    principal_point: tuple[float, float] | None = None

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
