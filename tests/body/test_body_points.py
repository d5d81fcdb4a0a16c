import numpy as np
import pytest
import torch
from helpers.fake_bodies import fake_smpl_body, random_body
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body, load_body, pose_skeleton, skin
from dualhmr.body.point_regressors import PointRegressor, keypoint_regressor, skeleton_regressor
from dualhmr.body.points import BodyPoints
from dualhmr.keypoints import KEYPOINT_SETS
from dualhmr.rotations import rotvec_to_rotmat


def random_pose(body: Body, persons: int = 3) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    rotvecs = torch.from_numpy(rng.normal(0, 0.6, (persons, 24, 3)))
    betas = torch.from_numpy(rng.normal(0, 1.5, (persons, body.beta_count)))
    dtype = body.v_template.dtype
    return rotvec_to_rotmat(rotvecs).to(dtype), betas.to(dtype)


def random_regressor(body: Body, seed: int = 0) -> PointRegressor:
    """Joints, patches of skin, mixtures with negative shares, nothing, and the same again."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.zeros(12, 24).to(body.v_template)
    vertices = torch.zeros(12, body.vertex_count).to(body.v_template)
    for point in range(12):
        if point % 3 != 1:
            chosen = torch.randperm(body.vertex_count, generator=generator)[: 1 + 2 * point]
            vertices[point, chosen] = torch.randn(len(chosen), generator=generator).to(vertices)
        if point % 3 != 2:
            joints[point, int(torch.randint(24, (), generator=generator))] = 0.7
    joints[5] = vertices[5] = joints[9] = vertices[9] = 0
    joints[10], vertices[10] = joints[0], vertices[0]
    return PointRegressor(tuple(f"point_{i}" for i in range(12)), joints, vertices)


def both_ways(
    body: Body, regressor: PointRegressor, rotations: Tensor, betas: Tensor
) -> tuple[Tensor, Tensor]:
    fast = BodyPoints(body, regressor)(pose_skeleton(body, rotations, betas))
    posed = skin(body, rotations, betas)
    return fast, regressor.from_mesh(posed.vertices, posed.joints)


@pytest.mark.parametrize("seed", range(4))
def test_points_are_those_of_the_mesh(seed: int) -> None:
    body = random_body(seed=seed)
    fast, slow = both_ways(body, random_regressor(body, seed), *random_pose(body))
    assert fast.shape == (3, 12, 3)
    # Shares below the limit are left out, so it is not exact to rounding.
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_keypoints_of_the_free_body_are_those_of_its_mesh(name: str) -> None:
    body = load_body()
    regressor = keypoint_regressor(body, KEYPOINT_SETS[name]) + skeleton_regressor(body)
    fast, slow = both_ways(body, regressor, *random_pose(body, 2))
    torch.testing.assert_close(fast, slow, rtol=0, atol=2e-6)


def test_keypoints_of_smpl_are_those_of_its_mesh() -> None:
    body = fake_smpl_body()
    regressor = keypoint_regressor(body, KEYPOINT_SETS["body_25"])
    fast, slow = both_ways(body, regressor, *random_pose(body, 2))
    torch.testing.assert_close(fast, slow, rtol=0, atol=2e-6)


def test_gradients_are_those_of_the_mesh() -> None:
    body = random_body()
    regressor = random_regressor(body)
    given = [tensor.requires_grad_() for tensor in random_pose(body)]
    fast, slow = both_ways(body, regressor, *given)
    pull = torch.randn(fast.shape, generator=torch.Generator().manual_seed(2)).to(fast)
    for found, expected in zip(
        torch.autograd.grad((fast * pull).sum(), given),
        torch.autograd.grad((slow * pull).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gradcheck() -> None:
    body = random_body(vertices=31, betas=3)
    points = BodyPoints(body, random_regressor(body))
    given = [tensor.requires_grad_() for tensor in random_pose(body, 1)]
    assert torch.autograd.gradcheck(
        lambda *g: points(pose_skeleton(body, *g)), given, fast_mode=True
    )


def test_the_skeleton_alone_needs_no_skin() -> None:
    body = random_body()
    pose = pose_skeleton(body, *random_pose(body))
    points = BodyPoints(body, skeleton_regressor(body))
    assert points.names == JOINT_NAMES
    assert points.available.all()
    assert torch.equal(points(pose), pose.joints)


def test_points_that_the_body_lacks_are_zero_and_not_available() -> None:
    body = random_body()
    points = BodyPoints(body, random_regressor(body))
    assert points.available.tolist() == [point not in (5, 9) for point in range(12)]
    found = points(pose_skeleton(body, *random_pose(body)))
    assert not found[:, ~points.available].any()
    assert found[:, points.available].any(-1).all()


def test_no_points_and_no_persons() -> None:
    body = random_body()
    pose = pose_skeleton(body, *random_pose(body))
    nobody = pose_skeleton(body, *(given[:0] for given in random_pose(body)))
    empty = PointRegressor(("a",), torch.zeros(1, 24).double(), torch.zeros(1, 60).double())
    assert torch.equal(BodyPoints(body, empty)(pose), torch.zeros(3, 1, 3).double())
    assert BodyPoints(body, random_regressor(body))(nobody).shape == (0, 12, 3)


def test_a_point_named_twice_is_the_same_to_the_last_digit() -> None:
    body = random_body()
    points = BodyPoints(body, random_regressor(body))(pose_skeleton(body, *random_pose(body)))
    assert torch.equal(points[:, 0], points[:, 10])


def test_regressors_are_joined_in_order() -> None:
    body = random_body()
    first, second = random_regressor(body, 0), random_regressor(body, 1)
    joined = first + second
    assert joined.names == first.names + second.names
    posed = skin(body, *random_pose(body))
    expected = [part.from_mesh(posed.vertices, posed.joints) for part in (first, second)]
    found = joined.from_mesh(posed.vertices, posed.joints)
    torch.testing.assert_close(found, torch.cat(expected, dim=1))


def test_a_person_is_computed_alone() -> None:
    body = random_body()
    points = BodyPoints(body, random_regressor(body))
    rotations, betas = random_pose(body)
    together = points(pose_skeleton(body, rotations, betas))
    for person in range(3):
        one = slice(person, person + 1)
        alone = points(pose_skeleton(body, rotations[one], betas[one]))
        torch.testing.assert_close(alone[0], together[person])
