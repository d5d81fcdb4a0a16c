"""What networks of SPIN's family compare in 3D, restated in NumPy from the release's facts."""

import numpy as np
import pytest
import torch
from helpers.fake_bodies import fake_smpl_body
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.files import with_extra_joints
from dualhmr.body.model import Body, pose_skeleton, skin
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import View
from dualhmr.keypoints import BODY_25, COCO_17, HALPE_136, SPIN_24, SPIN_49, KeypointSet
from dualhmr.networks import HeadOutput
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotvec_to_rotmat

# The 24 joints over smplx's 45 (24 of the skeleton, then vertices) and the 9 extra ones.
DATASET_JOINTS = (
    8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27,
)  # fmt: skip
FACE = (332, 6260, 2800, 4071, 583)
"""smplx's joints 24 to 28."""
PERSONS = 3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def plain() -> Body:
    return fake_smpl_body()


@pytest.fixture(scope="module")
def extra(plain: Body) -> NDArray[np.float32]:
    rows = np.random.default_rng(0).random((9, plain.vertex_count), np.float32)
    return rows / rows.sum(1, keepdims=True)


def output_of(body: Body, seed: int) -> HeadOutput:
    rotations = rotvec_to_rotmat(0.4 * normal(PERSONS, 24, 3, seed=seed))
    pose_6d = rotations[..., :2].flatten(1)
    camera = torch.tensor([0.9, 0.1, -0.1]) + 0.05 * normal(PERSONS, 3, seed=seed + 1)
    return HeadOutput(pose_6d, normal(PERSONS, body.beta_count, seed=seed + 2), camera)


def evidence_of(count: int) -> Evidence:
    view = View(
        torch.tensor([[100.0, 120.0]]).repeat(PERSONS, 1),
        torch.full((PERSONS,), 200.0),
        torch.full((PERSONS,), 500.0),
        torch.tensor([[128.0, 128.0]]).repeat(PERSONS, 1),
    )
    return Evidence(normal(PERSONS, count, 2, seed=7), torch.ones(PERSONS, count), view, None)


def dataset_joints(body: Body, output: HeadOutput, extra: NDArray[np.float32]) -> NDArray:
    posed = skin(body, output.rotations, output.betas)
    vertices, skeleton = posed.vertices.numpy(), posed.joints.numpy()
    fingertips = np.full((PERSONS, 16, 3), np.nan)
    of_smplx = np.concatenate([skeleton, vertices[:, FACE], fingertips], axis=1)
    return np.concatenate([of_smplx, extra @ vertices], axis=1)[:, DATASET_JOINTS]


@pytest.mark.parametrize("camera", ["cliff", "hmr"])
@pytest.mark.parametrize("evidence_set", [BODY_25, SPIN_24, COCO_17])
def test_the_24_annotated_joints_between_the_hips_of_lsp(
    camera: str, evidence_set: KeypointSet, plain: Body, extra: NDArray[np.float32]
) -> None:
    body = Body.from_arrays(with_extra_joints(plain.arrays(), extra))
    objective = own_objective(
        body,
        SPIN_49,
        camera=camera,
        weights=LossWeights(),
        keypoints=keypoint_regressor(body, evidence_set),
    )
    mine, other = output_of(body, 1), output_of(body, 11)
    target = objective.target(other.rotations, other.betas)
    evidence = evidence_of(len(evidence_set))._replace(target=target)
    found = objective.losses(mine, evidence, ["joints_3d"])["joints_3d"]
    joints = [dataset_joints(plain, output, extra) for output in (mine, other)]
    centred = [each - each[:, 2:4].mean(1, keepdims=True) for each in joints]  # joints 27, 28 of 49
    expected = 5 * ((centred[0] - centred[1]) ** 2).mean((1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    estimate = torch.cat([mine.pose_6d, mine.betas, mine.camera], dim=1)
    fast, _ = ObjectiveGradient(objective, evidence)(estimate, ["joints_3d"])
    np.testing.assert_allclose(fast["joints_3d"], expected, rtol=1e-4)


def test_joints_that_the_body_lacks_do_not_count(plain: Body) -> None:
    objective = own_objective(plain, SPIN_49, camera="cliff", weights=LossWeights())
    mine, other = output_of(plain, 1), output_of(plain, 11)
    target = objective.target(other.rotations, other.betas)
    found = objective.losses(mine, evidence_of(49)._replace(target=target), ["joints_3d"])
    joints = [dataset_joints(plain, output, np.zeros((9, 6890))) for output in (mine, other)]
    for each, output in zip(joints, (mine, other), strict=True):
        skeleton = skin(plain, output.rotations, output.betas).joints.numpy()
        each[:, 2:4] = skeleton[:, [JOINT_NAMES.index(f"{s}_hip") for s in ("right", "left")]]
    counted = [i for i, source in enumerate(DATASET_JOINTS) if not source >= 47]
    assert len(counted) == 17
    centred = [each - each[:, 2:4].mean(1, keepdims=True) for each in joints]
    error = (centred[0] - centred[1])[:, counted]
    np.testing.assert_allclose(found["joints_3d"], 5 * (error**2).mean((1, 2)), rtol=1e-4)


def test_a_keypoint_set_that_smpl_has_in_part_is_not_diluted(plain: Body) -> None:
    """Networks with keypoints of their own: skeleton and those of their points that exist."""
    objective = own_objective(plain, HALPE_136.name, camera="cliff", weights=LossWeights())
    mine, other = output_of(plain, 1), output_of(plain, 11)
    target = objective.target(other.rotations, other.betas)
    evidence = evidence_of(136)._replace(target=target)
    found = objective.losses(mine, evidence, ["joints_3d"])["joints_3d"]
    available = objective.joints_available
    assert 24 + 17 <= int(available.sum()) < 24 + 136
    points = [
        objective.points(pose_skeleton(plain, output.rotations, output.betas))[1][:, available]
        for output in (mine, other)
    ]
    hips = [JOINT_NAMES.index(f"{side}_hip") for side in ("left", "right")]
    centred = [each - each[:, hips].mean(1, keepdim=True) for each in points]
    expected = 5 * (centred[0] - centred[1]).square().mean((1, 2))
    torch.testing.assert_close(found, expected)
