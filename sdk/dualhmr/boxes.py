"""`Box`: where a person is in the image; and what users pass as boxes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import finite_number, shown
from dualhmr.camera import BOX_MARGIN, CROP_SIZE, CropSize

_SPIN_PIXELS = 200.0
"""SPIN's `scale` is in units of so many pixels."""
_FARTHEST_PX = 1e6
"""Beyond any image; numbers that are much larger would not be finite in single precision."""
_CORNERS = "x0, y0, x1, y1 in pixels"


@dataclass(frozen=True)
class Box:
    """The part of the image that networks see of a person; it has the aspect ratio of the crop.

    Coordinates are those of keypoints: (0, 0) is the centre of the top-left pixel. Raises
    TypeError for what is no number, ValueError for numbers that no box has.
    """

    center: tuple[float, float]
    """x and y, image pixels."""
    height: float
    """Image pixels; margins are part of it."""

    def __post_init__(self) -> None:
        x, y = _pair("center", self.center)
        height = finite_number("height of a box", self.height, "a number of pixels")
        if not 0 < height <= _FARTHEST_PX:
            raise ValueError(
                f"a box is {height:g} pixels high, expected a positive number below "
                f"{_FARTHEST_PX:g}"
            )
        object.__setattr__(self, "center", (x, y))
        object.__setattr__(self, "height", height)

    @classmethod
    def from_corners(
        cls, corners: Any, *, margin: float = BOX_MARGIN, size: CropSize = CROP_SIZE
    ) -> "Box":
        """The box around a detector's rectangle (4,): x0, y0, x1, y1 in image pixels.

        As around keypoints: the same centre, and `margin` times the least box around it for crops
        of `size`, 256 by 192 pixels, so the larger of its height and 4/3 of its width.

        Raises ValueError for another shape, numbers that are not finite, and corners that are not
        the upper left and the lower right one.
        """
        values = _numbers(corners)
        if values.shape != (4,):
            raise ValueError(f"a box has the shape {values.shape}, expected (4,): {_CORNERS}")
        x0, y0, x1, y1 = map(float, values)
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            raise ValueError(f"a box is ({x0:g}, {y0:g}, {x1:g}, {y1:g}), which is not finite")
        if not (x0 < x1 and y0 < y1):
            raise ValueError(
                f"a box is ({x0:g}, {y0:g}, {x1:g}, {y1:g}), expected {_CORNERS} with x0 < x1 and "
                "y0 < y1; for x, y, width, height (COCO's bbox) pass x, y, x + width, y + height"
            )
        margin = finite_number("margin", margin)
        height = margin * max(y1 - y0, (x1 - x0) * size.height / size.width)
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), height)

    @classmethod
    def from_center_scale(cls, center: Any, scale: float) -> "Box":
        """The box of a data set in SPIN's layout: `center` in image pixels, `scale` in 200 pixels.

        `scale` is one number, a share of the box's height, with the margin; 3DPW's files of images
        at half size have both halved.
        """
        return cls(center, _SPIN_PIXELS * finite_number("scale", scale))

    def corners(self, size: CropSize = CROP_SIZE) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in image pixels of the box itself, margin and all, for crops of `size`."""
        (x, y), down = self.center, self.height / 2
        across = down * size.width / size.height
        return x - across, y - down, x + across, y + down


def as_boxes(
    boxes: Any, *, margin: float = BOX_MARGIN, size: CropSize = CROP_SIZE
) -> list[Box | None]:
    """What users pass as boxes: one per person, None for those who have none.

    Takes a `Box`, corners (4,) or (P, 4), or a sequence of these and None, one per person. Corners
    are those of a rectangle, see `Box.from_corners`.

    Raises TypeError or ValueError, naming the person, for anything else.
    """
    if isinstance(boxes, Box):
        return [boxes]
    if not (
        isinstance(boxes, Sequence) and any(each is None or isinstance(each, Box) for each in boxes)
    ):
        array = _numbers(boxes)
        if array.ndim not in (1, 2) or (array.size and array.shape[-1] != 4):
            hint = "; leave out further columns, such as scores" if array.ndim == 2 else ""
            raise ValueError(
                f"boxes have the shape {array.shape}, expected (4,) or (P, 4): {_CORNERS}{hint}"
            )
        boxes = np.atleast_2d(array) if array.size else []
    return [_one(person, each, margin, size) for person, each in enumerate(boxes)]


def _one(person: int, each: Any, margin: float, size: CropSize) -> Box | None:
    if each is None or isinstance(each, Box):
        return each
    try:
        return Box.from_corners(each, margin=margin, size=size)
    except (TypeError, ValueError) as error:
        raise type(error)(f"boxes, person {person}: {error}") from error


def _pair(name: str, values: Any) -> tuple[float, float]:
    array = _numbers(values)
    if array.shape != (2,):
        raise ValueError(f"{name} of a box is {shown(values)}, expected (x, y) in pixels")
    x, y = float(array[0]), float(array[1])
    if not (math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= _FARTHEST_PX):
        raise ValueError(f"{name} of a box is ({x:g}, {y:g}), expected finite pixels of an image")
    return x, y


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    try:
        array: npt.NDArray[Any] = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"a box is {shown(values)}, expected {_CORNERS}") from error
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"a box is {shown(values)}, expected numbers: {_CORNERS}")
    return array.astype(np.float64)
