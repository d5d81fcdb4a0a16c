"""One person: what is seen and known of them, and the body that was found. NumPy arrays."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.camera import View, keypoint_box
from dualhmr.engines import DLPackArray
from dualhmr.keypoints import Keypoints, KeypointSet
from dualhmr.mesh import FloatArray, StepTrace


class PersonView(NamedTuple):
    """One person as given by the user; arrays have a person axis of 1."""

    keypoint_set: KeypointSet
    xy: FloatArray
    """(1, K, 2) image pixels."""
    confidence: FloatArray
    """(1, K)."""
    view: View


class PersonEvidence(NamedTuple):
    """All that stays fixed while the head is adapted to one person."""

    seen: PersonView
    crop_keypoints: FloatArray
    """(1, K, 2) normalised crop coordinates."""
    inputs: dict[str, npt.NDArray[np.generic]]
    """What the networks read."""
    features: DLPackArray
    """(1, F) of the backbone."""
    rotations: DLPackArray
    """(1, 24, 3, 3) of the pseudo mesh."""
    betas: DLPackArray
    """(1, 10) of the pseudo mesh."""


class Iterates(NamedTuple):
    """One person at the start and after each of S - 1 steps."""

    losses: tuple[float, ...]
    """S watched losses."""
    trace: StepTrace
    keypoints_2d: FloatArray
    """(S, K, 2) image pixels, in the order of those given, NaN where the body has no such point."""
    focal_length: FloatArray
    """(S,) image pixels."""
    principal_point: FloatArray
    """(S, 2) image pixels."""
    best_step: int
    stop_reason: str


class AdaptedPerson(NamedTuple):
    """The best body for one person, and how it was found."""

    rotations: FloatArray
    """(24, 3, 3)."""
    betas: FloatArray
    translation: FloatArray
    """(3,) metres."""
    focal_length: float
    principal_point: FloatArray
    """(2,)."""
    keypoints_2d: FloatArray
    """(K, 2) image pixels, NaN where the body has no such point."""
    reprojection_px: tuple[float, float]
    """Before and after."""
    iterates: Iterates


def see_person(
    keypoints: Keypoints, person: int, focal_length: float, principal_point: tuple[float, float]
) -> PersonView:
    """The box around one person's keypoints, and the camera that sees it."""
    xy = keypoints.xy[person : person + 1]
    confidence = keypoints.confidence[person : person + 1]
    center, height = keypoint_box(xy, confidence)
    camera = np.array([focal_length], np.float32), np.array([principal_point], np.float32)
    return PersonView(keypoints.set, xy, confidence, View(center, height, *camera))


def best_of(iterates: Iterates, seen: PersonView) -> AdaptedPerson:
    """The best iterate, and how far it and the first are from the keypoints given."""
    best, trace = iterates.best_step, iterates.trace
    keypoints_2d = iterates.keypoints_2d
    return AdaptedPerson(
        rotations=trace.rotations[best],
        betas=trace.betas[best],
        translation=trace.translation[best],
        focal_length=float(iterates.focal_length[best]),
        principal_point=iterates.principal_point[best],
        keypoints_2d=keypoints_2d[best],
        reprojection_px=(_distance(seen, keypoints_2d[0]), _distance(seen, keypoints_2d[best])),
        iterates=iterates,
    )


def _distance(seen: PersonView, keypoints_2d: FloatArray) -> float:
    """Mean distance in pixels to the labelled keypoints that the body has."""
    counted = (seen.confidence[0] > 0) & np.isfinite(keypoints_2d).all(-1)
    return float(np.linalg.norm(keypoints_2d - seen.xy[0], axis=-1)[counted].mean())
