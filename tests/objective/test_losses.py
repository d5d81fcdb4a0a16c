from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dualhmr.objective.losses import (
    betas_loss,
    camera_loss,
    joints_3d_loss,
    keypoints_2d_loss,
    rotations_loss,
    vertices_loss,
)
from dualhmr.objective.weights import LossWeights

PEOPLE, POINTS = 3, 7


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def confidences() -> Tensor:
    return torch.rand(PEOPLE, POINTS, generator=torch.Generator().manual_seed(9)).double()


# The release's definitions, for one person, written with NumPy alone.


def release_keypoints_2d(projected: Tensor, target: Tensor, confidence: Tensor) -> float:
    error = (projected.numpy() - target.numpy()) ** 2
    return float((confidence.numpy()[:, None] * error).mean())


def release_joints_3d(joints: Tensor, target: Tensor) -> float:
    a, b = joints.numpy(), target.numpy()
    a, b = a - (a[2] + a[3]) / 2, b - (b[2] + b[3]) / 2
    return float(((a - b) ** 2).mean())


def test_keypoints_2d_by_hand() -> None:
    projected = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    target = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    loss = keypoints_2d_loss(projected, target, torch.tensor([[1.0, 0.5]]), keypoint_count=2)
    assert loss.tolist() == [(25 + 0.5 * 1) / 4]


def test_3d_losses_by_hand() -> None:
    zeros = torch.zeros(1, 4, 3)
    moved = zeros.clone()
    moved[0, 0, 0] = 6.0
    # Centred between joints 0 and 1, at x = 3: the first is 3 off, the other three -3.
    assert joints_3d_loss(moved, zeros, root=(0, 1)).tolist() == [4 * 9 / 12]
    assert vertices_loss(-moved, zeros).tolist() == [6 / 12]
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    turned = rotations_loss(half_turn[None, None], torch.eye(3)[None, None])
    assert turned.tolist() == pytest.approx([8 / 9])
    assert betas_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])).tolist() == [2.5]


def test_camera_by_hand() -> None:
    scales = torch.tensor([[0.0, 7.0, 7.0], [0.1, 7.0, 7.0], [-0.1, 7.0, 7.0]])
    torch.testing.assert_close(camera_loss(scales), torch.exp(torch.tensor([0.0, -2.0, 2.0])))
    assert camera_loss(torch.tensor([[0.9, 0.0, 0.0]])) < 1e-7


def test_every_loss_is_the_releases_for_every_person() -> None:
    flat, flat_target = normal(PEOPLE, POINTS, 2), normal(PEOPLE, POINTS, 2, seed=1)
    points, points_target = normal(PEOPLE, POINTS, 3), normal(PEOPLE, POINTS, 3, seed=1)
    turns, turns_target = normal(PEOPLE, 24, 3, 3), normal(PEOPLE, 24, 3, 3, seed=1)
    confidence = confidences()
    found = {
        "2d": keypoints_2d_loss(flat, flat_target, confidence, keypoint_count=POINTS),
        "3d": joints_3d_loss(points, points_target, root=(2, 3)),
        "vertices": vertices_loss(points, points_target),
        "rotations": rotations_loss(turns, turns_target),
        "betas": betas_loss(turns.flatten(1), turns_target.flatten(1)),
        "camera": camera_loss(points[:, 0]),
    }
    for i in range(PEOPLE):
        difference = (turns[i] - turns_target[i]).numpy()
        expected = {
            "2d": release_keypoints_2d(flat[i], flat_target[i], confidence[i]),
            "3d": release_joints_3d(points[i], points_target[i]),
            "vertices": np.abs(points[i].numpy() - points_target[i].numpy()).mean(),
            "rotations": (difference**2).mean(),
            "betas": (difference**2).mean(),
            "camera": np.exp(-10 * points[i, 0, 0].item()) ** 2,
        }
        for name, loss in found.items():
            assert loss.shape == (PEOPLE,)
            assert loss[i].item() == pytest.approx(expected[name], rel=1e-12), name


@pytest.mark.parametrize("nowhere", [0.0, 1e30, torch.inf, torch.nan])
def test_missing_keypoints_have_no_influence(nowhere: float) -> None:
    projected, target = normal(PEOPLE, POINTS, 2), normal(PEOPLE, POINTS, 2, seed=1)
    confidence = confidences()
    confidence[:, [1, 4]] = 0
    elsewhere = target.clone()
    elsewhere[:, [1, 4]] = nowhere
    results = []
    for goal in (target, elsewhere):
        at = projected.clone().requires_grad_()
        loss = keypoints_2d_loss(at, goal, confidence, keypoint_count=POINTS)
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        assert (gradient[:, [1, 4]] == 0).all()
        assert (gradient[:, [0, 2]] != 0).all()
        results.append((loss, gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_confidence_weights_the_squared_error() -> None:
    projected, target, confidence = normal(1, 1, 2), normal(1, 1, 2, seed=1), torch.ones(1, 1)
    full = keypoints_2d_loss(projected, target, confidence, keypoint_count=1)
    half = keypoints_2d_loss(projected, target, confidence / 2, keypoint_count=1)
    torch.testing.assert_close(half, full / 2)


def test_the_same_points_in_a_larger_set_give_the_same_loss() -> None:
    projected, target, confidence = (
        normal(PEOPLE, POINTS, 2),
        normal(PEOPLE, POINTS, 2, seed=1),
        confidences(),
    )
    more = torch.cat([normal(PEOPLE, 5, 2, seed=2), projected], dim=1)
    more_target = torch.cat([normal(PEOPLE, 5, 2, seed=3), target], dim=1)
    more_confidence = torch.cat([torch.zeros(PEOPLE, 5), confidence], dim=1)
    torch.testing.assert_close(
        keypoints_2d_loss(more, more_target, more_confidence, keypoint_count=POINTS),
        keypoints_2d_loss(projected, target, confidence, keypoint_count=POINTS),
        rtol=1e-13,
        atol=0,
    )


offsets = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


@settings(deadline=None, max_examples=25)
@given(first=offsets, second=offsets)
def test_joints_3d_ignore_where_both_stand(first: list[float], second: list[float]) -> None:
    joints, target = normal(PEOPLE, POINTS, 3), normal(PEOPLE, POINTS, 3, seed=1)
    moved = joints_3d_loss(joints + torch.tensor(first), target + torch.tensor(second), root=(2, 3))
    torch.testing.assert_close(moved, joints_3d_loss(joints, target, root=(2, 3)))


def test_losses_differentiate() -> None:
    def check(loss: object, *shape: int) -> None:
        assert torch.autograd.gradcheck(loss, (normal(*shape).requires_grad_(),))

    goal = normal(2, POINTS, 3, seed=1)
    check(lambda x: joints_3d_loss(x, goal, root=(2, 3)), 2, POINTS, 3)
    check(lambda x: vertices_loss(x, goal), 2, POINTS, 3)
    check(camera_loss, 2, 3)


def test_default_weights_are_the_releases() -> None:
    assert asdict(LossWeights()) == {
        "keypoints_2d": 5.0,
        "joints_3d": 5.0,
        "vertices": 0.5,
        "rotations": 1.0,
        "betas": 0.001,
        "camera": 1.0,
    }


def test_a_misspelt_weight_is_an_error() -> None:
    with pytest.raises(TypeError, match="keypoint_2d"):
        LossWeights(keypoint_2d=1.0)  # type: ignore[call-arg]
