"""One person: what is seen and known of them, and the body that was found."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation import Course
from dualhmr.body import pose_skeleton
from dualhmr.camera import View, keypoint_box, project
from dualhmr.keypoints import Keypoints, KeypointSet
from dualhmr.mesh import FloatArray, StepTrace
from dualhmr.networks import HeadOutput
from dualhmr.objective import Evidence, Objective


class PersonView(NamedTuple):
    """One person as given by the user; tensors have a person axis of 1."""

    keypoint_set: KeypointSet
    xy: Tensor
    """(1, K, 2) image pixels."""
    confidence: Tensor
    """(1, K)."""
    view: View


class PersonEvidence(NamedTuple):
    """All that stays fixed while the head is adapted to one person."""

    seen: PersonView
    objective: Objective
    evidence: Evidence
    inputs: dict[str, Tensor]
    """What the networks read."""
    features: Tensor
    """(1, F) of the backbone."""


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
    adaptation: Course
    trace: StepTrace


def see_person(
    keypoints: Keypoints, person: int, focal_length: float, principal_point: tuple[float, float]
) -> PersonView:
    """The box around one person's keypoints, and the camera that sees it."""
    xy = torch.from_numpy(keypoints.xy[person : person + 1])
    confidence = torch.from_numpy(keypoints.confidence[person : person + 1])
    center, height = keypoint_box(xy, confidence)
    view = View(center, height, torch.tensor([focal_length]), torch.tensor([principal_point]))
    return PersonView(keypoints.set, xy, confidence, view)


@torch.no_grad()
def describe(known: PersonEvidence, adaptation: Course) -> AdaptedPerson:
    """The best iterate in NumPy, its camera and keypoints, and the way there."""
    outputs = [output for output in adaptation.outputs if isinstance(output, HeadOutput)]
    iterates = HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))
    objective, view = known.objective, known.evidence.view
    rotations = iterates.rotations
    camera = objective.camera(iterates.camera, view)
    keypoints_px = project(
        objective.points(pose_skeleton(objective.body, rotations, iterates.betas))[0], camera
    ).masked_fill(~objective.available[:, None], torch.nan)
    trace = StepTrace(*(_array(part) for part in (rotations, iterates.betas, camera.translation)))
    best = adaptation.best_step
    keypoints_2d = _array(keypoints_px)
    return AdaptedPerson(
        rotations=trace.rotations[best],
        betas=trace.betas[best],
        translation=trace.translation[best],
        focal_length=float(camera.focal_length.expand(len(outputs))[best]),
        principal_point=_array(camera.principal_point.expand(len(outputs), 2)[best]),
        keypoints_2d=keypoints_2d[best],
        reprojection_px=(_distance(known, keypoints_2d[0]), _distance(known, keypoints_2d[best])),
        adaptation=adaptation,
        trace=trace,
    )


def _distance(known: PersonEvidence, keypoints_2d: FloatArray) -> float:
    """Mean distance in pixels to the labelled keypoints that the body has."""
    given = known.seen.xy[0].numpy()
    counted = (known.seen.confidence[0].numpy() > 0) & np.isfinite(keypoints_2d).all(-1)
    return float(np.linalg.norm(keypoints_2d - given, axis=-1)[counted].mean())


def _array(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float32)
