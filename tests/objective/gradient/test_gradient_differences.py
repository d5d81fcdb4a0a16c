"""The closed form against finite differences of `Objective.losses`, also at hard points."""

import math

import pytest
import torch
from helpers.gradient_cases import (
    CAMERAS,
    COUNTS,
    make_estimate,
    make_evidence,
    make_objective,
    moved,
    rotations_of,
    split,
)
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import pose_skeleton
from dualhmr.camera import project_to_crop
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.rotations import rotmat_to_rot6d, rotvec_to_rotmat

any_camera = pytest.mark.parametrize("camera", CAMERAS)


def by_differences(
    objective: Objective, evidence: Evidence, estimate: Tensor, sizes: Tensor, *, step: float = 1e-5
) -> Tensor:
    """d loss / d (number / its size) (157,) for one person: four points, an error of step^4."""

    def total(shift: float) -> Tensor:
        people = estimate + shift * torch.diag(sizes[0])
        many = moved(evidence, lambda part: part.expand(len(people), *part.shape[1:]))
        return torch.stack(list(objective.losses(split(people), many).values())).sum(0)

    near, far = total(step) - total(-step), total(2 * step) - total(-2 * step)
    return (8 * near - far) / (12 * step)


def check(
    camera: str, estimate: Tensor, evidence: Evidence | None = None, sizes: Tensor | None = None
) -> Tensor:
    objective = make_objective("stick", camera)
    evidence = evidence or make_evidence(objective, 1)
    sizes = torch.ones_like(estimate) if sizes is None else sizes
    _, gradient = ObjectiveGradient(objective, evidence)(estimate)
    expected = by_differences(objective, evidence, estimate, sizes)
    error = ((gradient * sizes)[0] - expected).abs().max()
    assert error < 1e-7 * expected.abs().max()
    return gradient


@any_camera
@pytest.mark.parametrize("seed", range(4))
def test_anywhere(camera: str, seed: int) -> None:
    check(camera, make_estimate(1, seed=seed, spread=0.5))


@any_camera
def test_at_rest(camera: str) -> None:
    rest = torch.cat(
        [
            torch.eye(3)[:, :2].reshape(1, 6).repeat(1, 24),
            torch.zeros(1, 10),
            torch.tensor([[0.9, 0, 0]]),
        ],
        dim=1,
    )
    check(camera, rest.double())


@any_camera
@pytest.mark.parametrize("joint", ["pelvis", "left_elbow", "neck"])
def test_half_a_turn(camera: str, joint: str) -> None:
    estimate = make_estimate(1)
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    turned = rotmat_to_rot6d(rotvec_to_rotmat(math.pi * axis))
    first = 6 * JOINT_NAMES.index(joint)
    estimate[0, first : first + 6] = turned
    check(camera, estimate)


@any_camera
def test_six_numbers_of_any_size_and_nearly_parallel(camera: str) -> None:
    estimate, sizes = make_estimate(1), torch.ones(1, 157, dtype=torch.float64)
    size = torch.logspace(-4, 4, 24, dtype=torch.float64).repeat_interleave(6)
    estimate[:, :144] *= size
    sizes[:, :144] = size
    knee = estimate[0, 24:30].view(3, 2)
    knee[:, 1] = 3 * knee[:, 0] + 0.05 * knee[:, 1]
    check(camera, estimate, sizes=sizes)


@any_camera
def test_keypoints_exactly_met(camera: str) -> None:
    objective = make_objective("stick", camera)
    estimate, evidence = make_estimate(1), make_evidence(objective, 1)
    output = split(estimate)
    keypoints, _ = objective.points(
        pose_skeleton(objective.body, rotations_of(estimate), output.betas)
    )
    placed = objective.camera(output.camera, evidence.view)
    met = evidence._replace(keypoints=project_to_crop(keypoints, placed, evidence.view))
    check(camera, estimate, met)
    losses, gradient = ObjectiveGradient(objective, met)(estimate, ["keypoints_2d"])
    assert losses["keypoints_2d"].abs().max() < 1e-25
    assert gradient.abs().max() < 1e-10


def test_no_slope_at_a_mesh_from_itself() -> None:
    objective = make_objective()
    estimate = make_estimate(2)
    target = objective.target(rotations_of(estimate), split(estimate).betas)
    evidence = make_evidence(objective, 2)._replace(target=target)
    smooth = ["joints_3d", "rotations", "betas"]
    _, gradient = ObjectiveGradient(objective, evidence)(estimate, smooth)
    assert gradient.abs().max() < 1e-13


@any_camera
def test_a_longer_vector_is_the_same_rotation(camera: str) -> None:
    objective = make_objective("stick", camera)
    _, gradient = ObjectiveGradient(objective, make_evidence(objective, 2))(make_estimate(2))
    pose, slope = (
        x.split(COUNTS, dim=1)[0].view(2, 24, 3, 2) for x in (make_estimate(2), gradient)
    )
    along = (pose * slope).sum(2)
    assert along.abs().max() < 1e-12 * slope.abs().max()
