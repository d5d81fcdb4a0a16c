"""What skeleton files hold: bones at rest and their turns, with y up."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class SkeletonMotion(NamedTuple):
    """J joints over T frames, y-up, metres. At rest, no joint is turned."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Of the root -1; parents precede children."""
    rest: Array
    """(J, 3)."""
    rotations: Array
    """(T, J, 3, 3) relative to the parent joint, the first to the world."""
    root: Array
    """(T, 3) where the root is."""
    fps: float

    @property
    def offsets(self) -> Array:
        """(J, 3) from the parent joint at rest; of the root, from the origin."""
        parents = list(self.parents[1:])
        return np.concatenate([self.rest[:1], self.rest[1:] - self.rest[parents]])

    def children(self, joint: int) -> list[int]:
        """In ascending order."""
        return [child for child, parent in enumerate(self.parents) if parent == joint]
