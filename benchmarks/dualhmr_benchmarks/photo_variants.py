"""Annotated photographs mirrored, made smaller and cropped: other sizes of the same people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.keypoints import COCO_17

FloatArray: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Annotation:
    """One person of a COCO file."""

    keypoints: FloatArray
    """(17, 2) pixels."""
    labelled: npt.NDArray[np.bool_]
    """(17,)."""
    area: float
    rectangle: tuple[float, float, float, float]
    """x, y, width, height."""

    def moved(self, scale: float, x: float, y: float) -> "Annotation":
        """In a picture that has this one's pixel edges at `scale` times theirs plus (x, y)."""
        left, top, width, height = self.rectangle
        return replace(
            self,
            keypoints=(self.keypoints + 0.5) * np.float32(scale)
            + np.array([x - 0.5, y - 0.5], np.float32),
            area=self.area * scale**2,
            rectangle=(left * scale + x, top * scale + y, width * scale, height * scale),
        )


Pixels: TypeAlias = npt.NDArray[np.uint8]
Photo: TypeAlias = tuple[str, Pixels, list[Annotation]]


def whole(photo: Photo) -> Iterator[Photo]:
    """The photograph."""
    yield photo


def mirrored(photo: Photo) -> Iterator[Photo]:
    """Left and right exchanged."""
    name, image, annotations = photo
    order, width = list(COCO_17.flip_permutation()), image.shape[1]
    turned = [
        replace(
            each,
            keypoints=each.keypoints[order] * np.array([-1, 1], np.float32)
            + np.array([width - 1, 0], np.float32),
            labelled=each.labelled[order],
            rectangle=(width - each.rectangle[0] - each.rectangle[2], *each.rectangle[1:]),
        )
        for each in annotations
    ]
    yield name, np.ascontiguousarray(image[:, ::-1]), turned


def smaller(photo: Photo, *, scale: float = 0.6) -> Iterator[Photo]:
    """In the middle of a grey picture of the same size."""
    name, image, annotations = photo
    height, width = image.shape[:2]
    size = round(width * scale), round(height * scale)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = Image.new("RGB", (width, height), (120, 110, 100))
    canvas.paste(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), (x, y))
    yield name, np.asarray(canvas), [each.moved(scale, x, y) for each in annotations]


def crops(photo: Photo, *, margin: float = 1.3) -> Iterator[Photo]:
    """A square around each person, of `margin` times the longer side, and only that person."""
    name, image, annotations = photo
    for each in annotations:
        left, top, width, height = each.rectangle
        half = margin * max(width, height) / 2
        x, y = left + width / 2, top + height / 2
        x0, y0 = max(int(x - half), 0), max(int(y - half), 0)
        part = image[y0 : int(y + half), x0 : int(x + half)]
        yield name, np.ascontiguousarray(part), [each.moved(1.0, -x0, -y0)]


VARIANTS: dict[str, Callable[[Photo], Iterator[Photo]]] = {
    "whole": whole,
    "mirrored": mirrored,
    "smaller": smaller,
    "crops": crops,
}
