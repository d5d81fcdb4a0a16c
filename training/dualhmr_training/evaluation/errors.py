"""People's errors after every step of adaptation.

The error after step t is that of what `recover` returns with `max_steps=t`: of the best iterate
among the first t, or of the last one where the schedule says so. A person whose adaptation stops
early keeps what was returned then.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import BEST, LAST, Schedule
from dualhmr.body.model import Pose, pose_skeleton, skin_vertices
from dualhmr.camera import half_crop, project_to_crop
from dualhmr.networks import HeadOutput
from dualhmr.objective.losses import keypoints_2d_loss
from dualhmr.objective.objective import Evidence, Objective
from dualhmr_training.batches import some_of
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import (
    ComparedJoints,
    EvaluationBatch,
    EvaluationGroup,
    GroundTruth,
)
from dualhmr_training.evaluation.metrics import (
    aligned_joint_errors,
    depth_flips,
    direction_error,
    joint_errors,
    keypoint_error,
    lean,
    pve,
    pve_centred,
)

Errors = npt.NDArray[np.float64]


class PersonErrors(NamedTuple):
    """One person's errors after S numbers of steps: 0, 1, ..., T, or those that were asked for."""

    steps: int
    """Taken until adaptation stopped."""
    stop_reason: str
    measures: dict[str, Errors]
    """(S,) each, by name: see `dualhmr_training.evaluation.report`.

    A person without keypoints has NaN for errors in 2D.
    """
    joints_mm: Errors
    """(S, J) the joints that count, with both roots at the origin."""
    aligned_joints_mm: Errors
    """(S, J) after Procrustes alignment."""
    clip: str = ""
    """Of the person's pose; empty where poses have none."""
    category: str = ""
    """What the person does; empty where nobody says."""


def measure_errors(
    fitter: BatchFitter,
    group: EvaluationGroup,
    schedules: Sequence[Schedule],
    *,
    after: Sequence[int] | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[list[PersonErrors]]:
    """Adapts to everybody in `group` and compares with the truth: a list for every schedule.

    Errors are those `after` these numbers of steps; None is every number. `progress` is called
    after each batch with the number of people in it. Raises ValueError where there are no people,
    or where adaptation to one fails.
    """
    errors: list[list[PersonErrors]] = [[] for _ in schedules]
    done = 0
    for batch in group.batches:
        try:
            of_schedules = fitter.adapt(batch, schedules)
        except ValueError as error:
            raise ValueError(f"of the people from number {done} on, {error}") from error
        for schedule, results, so_far in zip(schedules, of_schedules, errors, strict=True):
            steps = range(schedule.max_steps + 1) if after is None else after
            people = people_errors(
                results,
                batch,
                fitter.objective,
                group.joints,
                after=steps,
                iterate=schedule.iterate,
            )
            so_far += [
                person._replace(clip=group.clip(number), category=group.category(number))
                for number, person in enumerate(people, start=done)
            ]
        count = len(batch.truth.joints)
        done += count
        if progress is not None:
            progress(count)
    if not done:
        raise ValueError("there are no people to evaluate on")
    return errors


def returned_iterates(losses: Sequence[float], max_steps: int, *, iterate: str = BEST) -> list[int]:
    """The iterate that would be returned after 0, 1, ..., `max_steps` steps, by watched losses.

    `losses` are those at the start and after every step; fewer where adaptation stopped early.
    `iterate` is that of the schedule.
    """
    if iterate == LAST:
        return [min(step, len(losses) - 1) for step in range(max_steps + 1)]
    best = [0]
    for step in range(1, max_steps + 1):
        lower = step < len(losses) and losses[step] < losses[best[-1]]
        best.append(step if lower else best[-1])
    return best


@torch.no_grad()
def people_errors(
    results: Sequence[AdaptationResult],
    batch: EvaluationBatch,
    objective: Objective,
    joints: ComparedJoints,
    *,
    after: Sequence[int],
    iterate: str = BEST,
) -> list[PersonErrors]:
    """Compares the iterates of N people with the truth about them.

    Outputs of `results` are `HeadOutput`s of one person; errors are those `after` these numbers of
    steps. `objective` has the recovered body and the keypoints of the evidence, and `iterate` is
    that of the schedule.
    """
    so_far = [
        returned_iterates(result.loss_history, max(after), iterate=iterate) for result in results
    ]
    best = [[iterates[steps] for steps in after] for iterates in so_far]
    returned = [sorted(set(iterates)) for iterates in best]
    # Only iterates that are returned after some number of steps are posed, each once: R meshes of
    # all people, one after the other, and the person that each belongs to.
    output = _outputs(results, returned)
    person = torch.arange(len(results)).repeat_interleave(torch.tensor([*map(len, returned)]))
    evidence, truth = some_of((batch.evidence, batch.truth), person)
    pose = pose_skeleton(objective.body, output.rotations, output.betas)
    errors = _errors_3d(pose, objective, truth, joints)
    errors |= _errors_2d(pose, output.camera, objective, evidence, truth)

    def of_person(index: int) -> PersonErrors:
        result, own = results[index], person == index
        after_steps = np.searchsorted(returned[index], best[index])
        measures = {
            name: all_[own].double().cpu().numpy()[after_steps] for name, all_ in errors.items()
        }
        in_joints = (measures.pop("joints_mm"), measures.pop("aligned_joints_mm"))
        measures["objective"] = np.array(result.loss_history)[best[index]]
        return PersonErrors(result.steps, result.stop_reason, measures, *in_joints)

    return [of_person(index) for index in range(len(results))]


def _outputs(results: Sequence[AdaptationResult], returned: list[list[int]]) -> HeadOutput:
    outputs = [
        result.outputs[iterate]
        for result, iterates in zip(results, returned, strict=True)
        for iterate in iterates
    ]
    return HeadOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))


def _errors_3d(
    pose: Pose, objective: Objective, truth: GroundTruth, joints: ComparedJoints
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
    measures |= _errors_of_directions(points, true_points, truth, joints.points.names)
    if truth.vertices is not None:
        measures["pve_mm"] = 1000 * pve(vertices, truth.vertices)
        measures["pve_centred_mm"] = 1000 * pve_centred(
            vertices,
            truth.vertices,
            root=points[:, joints.root].to(vertices),
            true_root=true_points[:, joints.root].to(vertices),
        )
    return measures | {"joints_mm": errors, "aligned_joints_mm": aligned}


_LIMBS = [
    tuple(f"{side}_{end}" for end in ends)
    for side in ("left", "right")
    for ends in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
_FEET = [(f"{side}_ankle", f"{side}_foot") for side in ("left", "right")]


def _errors_of_directions(
    points: Tensor, true_points: Tensor, truth: GroundTruth, names: Sequence[str]
) -> dict[str, Tensor]:
    """Measures (R,) of how limbs, feet and the trunk are turned, where joints have the names."""

    def rows(bones: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
        known = [bone for bone in bones if set(bone) <= set(names)]
        return [(names.index(first), names.index(second)) for first, second in known]

    measures = {}
    if limbs := rows(_LIMBS):
        measures["depth_flips_percent"] = 100 * depth_flips(points, true_points, limbs)
    if feet := rows(_FEET):
        measures["foot_degrees"] = direction_error(points, true_points, feet)
    if truth.up is not None and truth.standing is not None and {"pelvis", "neck"} <= set(names):
        for name, each in (("lean_degrees", points), ("true_lean_degrees", true_points)):
            angle = lean(each, truth.up, pelvis=names.index("pelvis"), neck=names.index("neck"))
            measures[name] = torch.where(truth.standing, angle, torch.nan)
    return measures


def _errors_2d(
    pose: Pose, crop_camera: Tensor, objective: Objective, evidence: Evidence, truth: GroundTruth
) -> dict[str, Tensor]:
    """Measures (R,) over the keypoints with a position in the evidence that the body has, too.

    The others do not count against the truth either, so that both measures are of the same points.
    """
    camera = objective.full_camera(crop_camera, evidence.view)
    projected = project_to_crop(
        objective.points(pose)[0], camera, evidence.view, objective.crop_size
    )
    confidence = evidence.confidence * objective.available
    # From normalised crop coordinates to fractions of the box's height.
    half_box = half_crop(projected.new_ones(()), objective.crop_size)

    def percent_of_box(target: Tensor) -> Tensor:
        return 100 * keypoint_error(projected * half_box, target * half_box, confidence > 0)

    measures = {"given_2d_percent": percent_of_box(evidence.keypoints)}
    if truth.keypoints is not None:
        measures["true_2d_percent"] = percent_of_box(truth.keypoints)
        measures["true_2d_loss"] = keypoints_2d_loss(
            projected, truth.keypoints, confidence, keypoint_count=confidence.shape[1]
        )
    return measures
