"""Each stage: forward as the plain code does it, backward as autograd through forward."""

from collections.abc import Callable

import pytest
import torch
from helpers.fake_bodies import SMPL_PARENTS, random_body
from helpers.gradient_cases import (
    CAMERAS,
    make_body,
    make_estimate,
    make_evidence,
    make_objective,
    normal,
    rotations_of,
    split,
)
from torch import Tensor

from dualhmr.body.model import pose_skeleton, skin_vertices
from dualhmr.camera import CROP_SIZE, CropSize, project_to_crop
from dualhmr.objective.gradient.points import CropCamera, Points, Vertices
from dualhmr.objective.gradient.skeleton import Chain, Skeleton, gram_schmidt, gram_schmidt_backward
from dualhmr.rotations import rot6d_to_rotmat

PEOPLE = 2
SINGLE_CHAIN = tuple(range(-1, 23))
STAR = (-1,) + (0,) * 23

Tensors = tuple[Tensor, ...]


def check_adjoint(
    forward: Callable[..., Tensors], given: Tensors, backward: Callable[..., Tensors]
) -> None:
    """`backward` takes gradients of what `forward` makes to gradients of what it is given."""
    given = tuple(x.clone().requires_grad_() for x in given)
    made = forward(*given)
    grads_made = tuple(normal(*x.shape, seed=10 + i) for i, x in enumerate(made))
    expected = torch.autograd.grad(made, given, grads_made)
    for found, grad in zip(backward(*grads_made), expected, strict=True):
        torch.testing.assert_close(found, grad, rtol=0, atol=1e-12 * float(grad.abs().max()))


def given_rotations() -> Tensor:
    return rotations_of(make_estimate(PEOPLE, spread=1.0))


def test_gram_schmidt() -> None:
    rot6d = normal(PEOPLE, 24, 6, seed=1)
    made = gram_schmidt(rot6d)
    torch.testing.assert_close(made.rotations, rot6d_to_rotmat(rot6d), rtol=0, atol=1e-14)
    check_adjoint(
        lambda x: (gram_schmidt(x).rotations,),
        (rot6d,),
        lambda grad: (gram_schmidt_backward(made, grad),),
    )


@pytest.mark.parametrize("parents", [SMPL_PARENTS, SINGLE_CHAIN, STAR])
def test_chain_of_any_tree(parents: tuple[int, ...]) -> None:
    body = random_body(parents=parents)
    chain, betas = Chain(body), normal(PEOPLE, 10, seed=3)
    rotations, rest = given_rotations(), body.joint_template + 0.1 * normal(PEOPLE, 24, 3, seed=2)
    chained = chain.forward(rotations, rest)
    check_adjoint(
        lambda *given: (chain.forward(*given).transforms,),
        (rotations, rest),
        lambda grad: chain.backward(chained, grad),
    )
    posed, expected = (
        Skeleton(body).forward(rotations, betas),
        pose_skeleton(body, rotations, betas),
    )
    torch.testing.assert_close(posed.transforms, expected.transforms, rtol=0, atol=1e-13)
    torch.testing.assert_close(posed.chained.joints, expected.joints, rtol=0, atol=1e-13)
    torch.testing.assert_close(posed.blend, expected.blend, rtol=0, atol=0)


def test_skeleton() -> None:
    skeleton = Skeleton(make_body("stick"))
    given = given_rotations(), normal(PEOPLE, 10, seed=3)
    posed = skeleton.forward(*given)

    def forward(*given: Tensor) -> Tensors:
        made = skeleton.forward(*given)
        return made.transforms, made.blend

    check_adjoint(forward, given, lambda *grads: skeleton.backward(posed, *grads))


@pytest.mark.parametrize("body", ["stick", "free", "smpl"])
def test_points(body: str) -> None:
    objective = make_objective(body)
    points = Points(objective)
    pose = pose_skeleton(objective.body, given_rotations(), normal(PEOPLE, 10, seed=3))
    placed = points.forward(pose.transforms, pose.blend)
    keypoints, joints = objective.points(pose)
    joints = joints - joints[:, list(objective.root)].mean(1, keepdim=True)
    expected = torch.cat([keypoints, joints], dim=1)
    torch.testing.assert_close(placed.points, expected, rtol=0, atol=1e-12)
    check_adjoint(
        lambda *given: (points.forward(*given).points,),
        (pose.transforms, pose.blend),
        lambda grad: points.backward(placed, grad),
    )


@pytest.mark.parametrize("body", ["stick", "free", "smpl"])
def test_vertices(body: str) -> None:
    made = make_body(body)
    vertices = Vertices(made)
    pose = pose_skeleton(made, given_rotations(), normal(PEOPLE, 10, seed=3))
    skinned = vertices.forward(pose.transforms, pose.blend)
    torch.testing.assert_close(skinned.vertices.mT, skin_vertices(made, pose), rtol=0, atol=1e-12)
    check_adjoint(
        lambda *given: (vertices.forward(*given).vertices,),
        (pose.transforms, pose.blend),
        lambda grad: vertices.backward(skinned, grad),
    )


@pytest.mark.parametrize("size", [CROP_SIZE, CropSize(224, 224)])
@pytest.mark.parametrize("camera", CAMERAS)
def test_camera(camera: str, size: CropSize) -> None:
    objective = make_objective("stick", camera)
    view, cameras = make_evidence(objective, PEOPLE).view, split(make_estimate(PEOPLE)).camera
    crop_camera, points = CropCamera(objective.camera, view, size), normal(PEOPLE, 5, 3, seed=1)
    seen = crop_camera.forward(points, cameras)
    expected = project_to_crop(points, objective.camera(cameras, view, size), view, size)
    torch.testing.assert_close(seen.in_crop, expected, rtol=1e-12, atol=1e-12)
    check_adjoint(
        lambda *given: (crop_camera.forward(*given).in_crop,),
        (points, cameras),
        lambda grad: crop_camera.backward(seen, grad),
    )
