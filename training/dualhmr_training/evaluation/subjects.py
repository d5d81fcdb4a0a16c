"""Who is evaluated on: what would be known of people at test time, and the truth."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from dualhmr.body import Body, PointRegressor, skeleton_regressor
from dualhmr.keypoints import KeypointSet
from dualhmr.objective import Evidence

AT_ONCE = 32
"""People in a batch of a group: as many as are adapted together."""


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
    """What is true of N people; None is what a data set does not tell."""

    joints: Tensor
    """(N, J, 3) metres, turned as the camera sees them: all of `ComparedJoints.points`."""
    vertices: Tensor | None
    """(N, V, 3) metres, in the frame of `joints`."""
    keypoints: Tensor | None
    """(N, K, 2) normalised crop coordinates: where the keypoints given ought to be."""


class Seen(NamedTuple):
    """What keypoint-reading networks see of N people in place of a picture."""

    keypoints: Tensor
    """(N, 23, 2) normalised crop coordinates, `BODY_23`."""
    confidence: Tensor
    """(N, 23)."""


class Subjects(NamedTuple):
    """N people. Every tensor has the person axis first."""

    image: Tensor | None
    """(N, 256, 192, 3) uint8 RGB crops, where networks read them."""
    known: Evidence
    """Keypoints as they were given, without a target."""
    truth: Truth
    seen: Seen | None = None
    """None where keypoint-reading networks see the keypoints given."""


@dataclass(frozen=True, eq=False)
class Group:
    """People who have a row of their own in the report."""

    keypoints: str
    """Where those given come from."""
    keypoint_set: KeypointSet
    joints: ComparedJoints
    count: int
    batches: Iterable[Subjects]
    """All of them, `AT_ONCE` at a time."""
