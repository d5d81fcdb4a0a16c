"""People's errors after every step of adaptation.

The error after step t is that of the best iterate among the first t: of what `recover` returns
with `max_steps=t`. Who stops early keeps the last best iterate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult
from dualhmr.body.model import Pose, pose_skeleton, skin_vertices
from dualhmr.camera import half_crop, project_to_crop
from dualhmr.networks import HeadOutput
from dualhmr.objective.losses import keypoints_2d_loss
from dualhmr.objective.objective import Evidence, Objective
from dualhmr_training.batches import some_of
from dualhmr_training.evaluation.metrics import (
    aligned_joint_errors,
    joint_errors,
    keypoint_error,
    pve,
)
from dualhmr_training.evaluation.subjects import ComparedJoints, Subjects, Truth

Errors = npt.NDArray[np.float64]


class PersonErrors(NamedTuple):
    """Errors after S numbers of steps: 0, 1, ..., T, or those that were asked for."""

    steps: int
    """Taken until adaptation stopped."""
    stop_reason: str
    measures: dict[str, Errors]
    """(S,) each, by name: see `dualhmr_training.evaluation.report`.

    Who was given no keypoint has NaN for errors in 2D.
    """
    joints_mm: Errors
    """(S, J) the joints that count, roots at the origin."""
    aligned_joints_mm: Errors
    """(S, J) after Procrustes' alignment."""


def best_so_far(losses: Sequence[float], max_steps: int) -> list[int]:
    """The iterate that would be returned after 0, 1, ..., `max_steps` steps, by watched losses.

    `losses` are those at the start and after every step; fewer where adaptation stopped early.
    """
    best = [0]
    for step in range(1, max_steps + 1):
        lower = step < len(losses) and losses[step] < losses[best[-1]]
        best.append(step if lower else best[-1])
    return best


@torch.no_grad()
def people_errors(
    courses: Sequence[AdaptationResult],
    subjects: Subjects,
    objective: Objective,
    joints: ComparedJoints,
    *,
    after: Sequence[int],
) -> list[PersonErrors]:
    """Compares the iterates of N people with the truth about them.

    Outputs of `courses` are `HeadOutput`s of one person; errors are those `after` these numbers of
    steps. `objective` has the body and the keypoints given.
    """
    so_far = [best_so_far(course.loss_history, max(after)) for course in courses]
    best = [[iterates[steps] for steps in after] for iterates in so_far]
    returned = [sorted(set(iterates)) for iterates in best]
    # Everybody's iterates, one after the other, and whose they are.
    output = _outputs(courses, returned)
    person = torch.arange(len(courses)).repeat_interleave(torch.tensor([*map(len, returned)]))
    known, truth = some_of((subjects.evidence, subjects.truth), person)
    pose = pose_skeleton(objective.body, output.rotations, output.betas)
    errors = _errors_3d(pose, objective, truth, joints)
    errors |= _errors_2d(pose, output.camera, objective, known, truth)

    def of_person(index: int) -> PersonErrors:
        course, own = courses[index], person == index
        after_steps = np.searchsorted(returned[index], best[index])
        measures = {
            name: all_[own].double().cpu().numpy()[after_steps] for name, all_ in errors.items()
        }
        in_joints = (measures.pop("joints_mm"), measures.pop("aligned_joints_mm"))
        measures["objective"] = np.array(course.loss_history)[best[index]]
        return PersonErrors(course.steps, course.stop_reason, measures, *in_joints)

    return [of_person(index) for index in range(len(courses))]


def _outputs(courses: Sequence[AdaptationResult], returned: list[list[int]]) -> HeadOutput:
    outputs = [
        course.outputs[iterate]
        for course, iterates in zip(courses, returned, strict=True)
        for iterate in iterates
    ]
    return HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))


def _errors_3d(
    pose: Pose, objective: Objective, truth: Truth, joints: ComparedJoints
) -> dict[str, Tensor]:
    """Measures (R,) and errors of joints (R, J), millimetres, of R meshes."""
    counted = list(joints.counted)
    vertices = skin_vertices(objective.body, pose)
    points = joints.points.from_mesh(vertices, pose.joints).double()
    true_points = truth.joints.double()
    # Alignment is in double precision: a thousandth of a millimetre shall not depend on the frame.
    errors = 1000 * joint_errors(points, true_points, root=joints.root)[:, counted]
    aligned = 1000 * aligned_joint_errors(points[:, counted], true_points[:, counted])
    measures = {"mpjpe_mm": errors.mean(1), "pa_mpjpe_mm": aligned.mean(1)}
    if truth.vertices is not None:
        measures["pve_mm"] = 1000 * pve(
            vertices,
            truth.vertices,
            root=points[:, joints.root].to(vertices),
            true_root=true_points[:, joints.root].to(vertices),
        )
    return measures | {"joints_mm": errors, "aligned_joints_mm": aligned}


def _errors_2d(
    pose: Pose, crop_camera: Tensor, objective: Objective, known: Evidence, truth: Truth
) -> dict[str, Tensor]:
    """Measures (R,) over the keypoints that were given, as far as the body has them.

    Those of which no position was given count against the truth neither: so the two compare.
    """
    camera = objective.camera(crop_camera, known.view)
    seen = project_to_crop(objective.points(pose)[0], camera, known.view)
    confidence = known.confidence * objective.available
    # Of a box of height 1.
    half_box = half_crop(seen.new_ones(()))

    def percent_of_box(target: Tensor) -> Tensor:
        return 100 * keypoint_error(seen * half_box, target * half_box, confidence > 0)

    measures = {"given_2d_percent": percent_of_box(known.keypoints)}
    if truth.keypoints is not None:
        measures["true_2d_percent"] = percent_of_box(truth.keypoints)
        measures["true_2d_loss"] = keypoints_2d_loss(
            seen, truth.keypoints, confidence, keypoint_count=confidence.shape[1]
        )
    return measures
