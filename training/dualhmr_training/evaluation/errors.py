"""One person's errors after every step of adaptation.

The error after step t is that of the best iterate among the first t: of what `recover` returns
with `max_steps=t`. Who stops early keeps the last best iterate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body import keypoint_regressor, skin
from dualhmr.camera import FullCamera, View, image_to_crop, keypoint_box, project
from dualhmr.losses import keypoints_2d_loss
from dualhmr.metrics import aligned_joint_errors, joint_errors, keypoint_error, pve
from dualhmr.recovery import Recovery
from dualhmr_training.evaluation.subjects import ComparedJoints, Truth

Errors = npt.NDArray[np.float64]


class PersonErrors(NamedTuple):
    """Errors after 0, 1, ..., T steps."""

    steps: int
    """Taken until adaptation stopped."""
    stop_reason: str
    measures: dict[str, Errors]
    """(T + 1,) each, by name: see `dualhmr_training.evaluation.results`."""
    joints_mm: Errors
    """(T + 1, J) the joints that count, roots at the origin."""
    aligned_joints_mm: Errors
    """(T + 1, J) after Procrustes' alignment."""


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
def person_errors(
    recovery: Recovery, truth: Truth, joints: ComparedJoints, *, max_steps: int
) -> PersonErrors:
    """Compares the iterates of one recovered person with the truth.

    `max_steps` is T. ValueError where `recovery` is of more than one person.
    """
    if len(recovery) != 1:
        raise ValueError(f"errors are of one person, the recovery is of {len(recovery)}")
    best = best_so_far(recovery.loss_history[0], max_steps)
    iterates, steps = np.unique(best, return_inverse=True)
    trace = recovery.traces[0]
    rotations, betas, translation = (torch.from_numpy(part[iterates]) for part in trace)
    vertices, skeleton = skin(recovery.body, rotations, betas)
    measures, on_joints = _errors_3d(vertices, skeleton, truth, joints)
    measures |= _errors_2d(vertices, skeleton, translation, recovery, truth)
    measures["objective"] = torch.tensor(recovery.loss_history[0])[torch.from_numpy(iterates)]

    def after_steps(errors: Tensor) -> Errors:
        return errors.double().numpy()[steps]

    return PersonErrors(
        int(recovery.steps[0]),
        recovery.stop_reason[0],
        {name: after_steps(errors) for name, errors in measures.items()},
        *(after_steps(errors) for errors in on_joints),
    )


def _errors_3d(
    vertices: Tensor, skeleton: Tensor, truth: Truth, joints: ComparedJoints
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Measures (S,) and joint errors (S, J), millimetres, of S meshes (S, V, 3)."""
    counted = list(joints.counted)
    points = joints.points.from_mesh(vertices, skeleton).double()
    true_points = truth.joints.double().expand_as(points)
    # Alignment is in double precision: a thousandth of a millimetre shall not depend on the frame.
    errors = 1000 * joint_errors(points, true_points, root=joints.root)[:, counted]
    aligned = 1000 * aligned_joint_errors(points[:, counted], true_points[:, counted])
    measures = {"mpjpe_mm": errors.mean(1), "pa_mpjpe_mm": aligned.mean(1)}
    if truth.vertices is not None:
        measures["pve_mm"] = 1000 * pve(
            vertices,
            truth.vertices.expand_as(vertices),
            root=points[:, joints.root].to(vertices),
            true_root=true_points[:, joints.root].to(vertices),
        )
    return measures, (errors, aligned)


def _errors_2d(
    vertices: Tensor, skeleton: Tensor, translation: Tensor, recovery: Recovery, truth: Truth
) -> dict[str, Tensor]:
    """Measures (S,) over the keypoints that were given, as far as the body has them.

    Those of which no position was given count against the truth neither: so the two compare.
    """
    given, confidence = (
        torch.from_numpy(part) for part in (recovery.keypoints.xy, recovery.keypoints.confidence)
    )
    focal_length = torch.from_numpy(recovery.focal_length)
    principal_point = torch.from_numpy(recovery.principal_point)
    view = View(*keypoint_box(given, confidence), focal_length, principal_point)
    points = keypoint_regressor(recovery.body, recovery.keypoints.set)
    seen = project(
        points.from_mesh(vertices, skeleton),
        FullCamera(translation, focal_length, principal_point),
    )
    confidence = (confidence * points.available).expand(seen.shape[:2])

    def percent_of_box(target: Tensor) -> Tensor:
        distance = keypoint_error(seen, target.expand_as(seen), confidence > 0)
        return 100 * distance / view.box_height

    measures = {"given_2d_percent": percent_of_box(given)}
    if truth.keypoints is not None:
        measures["true_2d_percent"] = percent_of_box(truth.keypoints)
        measures["true_2d_loss"] = keypoints_2d_loss(
            image_to_crop(seen, view),
            image_to_crop(truth.keypoints[None], view),
            confidence,
            keypoint_count=len(recovery.keypoints.set),
        )
    return measures
