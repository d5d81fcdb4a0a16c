"""The keypoints of the persons in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualhmr.keypoints.sets import KeypointSet


@dataclass(frozen=True, eq=False)
class Keypoints:
    """2D keypoints of P >= 1 persons in one image.

    `xy` is (P, K, 2) float32 in image pixels, (0, 0) the centre of the top-left pixel. `confidence`
    is (P, K) float32 in [0, 1]; where it is 0 the keypoint is missing and its `xy` means nothing.
    K and the order of keypoints are those of `set`. Use `as_keypoints` for arrays of other kinds.

    Raises TypeError for other dtypes, ValueError for other shapes and values.
    """

    set: KeypointSet
    xy: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, array in (("xy", self.xy), ("confidence", self.confidence)):
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                raise TypeError(
                    f"Keypoints.{name} must be a float32 NumPy array; as_keypoints converts others"
                )
        persons = self.xy.shape[0] if self.xy.ndim else 0
        expected = (persons, len(self.set))
        if self.xy.shape != (*expected, 2) or self.confidence.shape != expected:
            raise ValueError(
                f"Keypoints with xy {self.xy.shape} and confidence {self.confidence.shape}; "
                f"{self.set.name} needs (P, {len(self.set)}, 2) and (P, {len(self.set)})"
            )
        if persons == 0:
            raise ValueError("Keypoints of zero persons; there must be at least one person")
        check_finite(self.xy, self.confidence, self.set)
        if self.confidence.min() < 0 or self.confidence.max() > 1:
            raise ValueError("Keypoints.confidence must lie in [0, 1]; as_keypoints clips it")

    def __len__(self) -> int:
        """Return the number of persons."""
        return len(self.xy)

    def select(self, persons: Sequence[int]) -> Keypoints:
        """Return the keypoints of some persons, in the order given."""
        chosen = list(persons)
        return Keypoints(self.set, self.xy[chosen], self.confidence[chosen])


def check_finite(
    xy: NDArray[np.float32], confidence: NDArray[np.float32], names: KeypointSet
) -> None:
    """Raise ValueError naming the first person and keypoint that is NaN or infinite."""
    bad = ~(np.isfinite(xy).all(axis=-1) & np.isfinite(confidence))
    if bad.any():
        person, keypoint = np.argwhere(bad)[0]
        x, y = xy[person, keypoint]
        raise ValueError(
            f"keypoints must be finite: person {person}, {names.names[keypoint]} has x={x}, y={y}, "
            f"confidence={confidence[person, keypoint]}; give a missing keypoint as 0, 0 with "
            "confidence 0"
        )
