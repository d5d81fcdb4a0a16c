"""The 2D keypoints that networks were trained to fit."""

from dataclasses import dataclass

from dualhmr.keypoints.sets import KEYPOINT_SETS, SPIN_24, KeypointSet, keypoint_set

SPIN_49 = "spin_49"
"""The 49 keypoints of the licensed data sets: 25 that OpenPose detected, then `SPIN_24`."""


@dataclass(frozen=True)
class OwnKeypoints:
    """What a network's 2D loss was over."""

    set: KeypointSet
    count: int
    """Over how many keypoints the loss is a mean, those that are never there included."""


def own_keypoints(name: str) -> OwnKeypoints:
    """By the name that manifests and trainings give: a set's, or `SPIN_49`.

    Of the 49 the annotated 24 count as the set: the others are the same places seen by a detector.
    Raises ValueError for an unknown name.
    """
    if name == SPIN_49:
        return OwnKeypoints(SPIN_24, 49)
    if name not in KEYPOINT_SETS:
        known = ", ".join((*KEYPOINT_SETS, SPIN_49))
        raise ValueError(f"unknown keypoints {name!r} for networks; known are {known}")
    named = keypoint_set(name)
    return OwnKeypoints(named, len(named))
