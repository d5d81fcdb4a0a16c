"""Who is evaluated on: what a user would have of a person, and the truth."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dualhmr.body import Body, PointRegressor, skeleton_regressor
from dualhmr.keypoints import KeypointSet


@dataclass(frozen=True, eq=False)
class ComparedJoints:
    """Which joints are compared: a data set's protocol."""

    points: PointRegressor
    """The joints as points of the body that is recovered."""
    root: int
    """The one that is put at the origin for MPJPE and PVE; it need not be one that counts."""
    counted: tuple[int, ...]
    """Those that errors are averaged over, and aligned by for PA-MPJPE."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the joints that count."""
        return tuple(self.points.names[joint] for joint in self.counted)


def skeleton_joints(body: Body) -> ComparedJoints:
    """All 24 joints of the body's own skeleton; the root is the pelvis."""
    points = skeleton_regressor(body)
    return ComparedJoints(points, root=0, counted=tuple(range(len(points.names))))


class Truth(NamedTuple):
    """What is true of a person; None is what a data set does not tell."""

    joints: Tensor
    """(J, 3) metres, turned as the camera sees them: all of `ComparedJoints.points`."""
    vertices: Tensor | None
    """(V, 3) metres, in the frame of `joints`."""
    keypoints: Tensor | None
    """(K, 2) image pixels: where the keypoints given ought to be."""


class Subject(NamedTuple):
    """One person to evaluate on, with the arguments of `Recoverer.recover`."""

    image: Any
    keypoints: npt.NDArray[np.float32]
    """(K, 3) image pixels and confidence."""
    keypoint_set: KeypointSet
    focal_length: float | None
    """Image pixels, where it is known."""
    principal_point: tuple[float, float] | None
    truth: Truth
