from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from helpers.fake_bodies import fake_smpl_body, random_body

from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import read_body
from dualhmr.body.model import Body, load_body, skin
from dualhmr.body.posing import pose_arrays
from dualhmr.person import place_bodies
from dualhmr.rotations import rotvec_to_rotmat


@pytest.mark.parametrize("build", [load_body, fake_smpl_body, random_body])
def test_numpy_and_pytorch_pose_alike(build: Callable[[], Body]) -> None:
    body = build().to(dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    rotations = rotvec_to_rotmat(torch.randn(5, 24, 3, generator=generator))
    betas = torch.randn(5, body.beta_count, generator=generator)
    expected = skin(body, rotations, betas)
    vertices, joints = pose_arrays(body.arrays(), rotations.numpy(), betas.numpy())
    assert vertices.dtype == joints.dtype == np.float32
    np.testing.assert_allclose(vertices, expected.vertices, rtol=0, atol=1e-5)
    np.testing.assert_allclose(joints, expected.joints, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_body_does_not_depend_on_the_others(count: int) -> None:
    body, rng = read_body(), np.random.default_rng(1)
    rotvec = torch.from_numpy(rng.normal(0, 0.5, (count, 24, 3)).astype(np.float32))
    rotations, betas = rotvec_to_rotmat(rotvec).numpy(), rng.normal(size=(count, 10))
    betas = betas.astype(np.float32)
    vertices, joints = pose_arrays(body, rotations, betas)
    assert vertices.shape == (count, body.vertex_count, 3)
    assert joints.shape == (count, 24, 3)
    for person in range(0, count, 13):
        one = slice(person, person + 1)
        alone = pose_arrays(body, rotations[one], betas[one])
        np.testing.assert_array_equal(vertices[one], alone[0])
        np.testing.assert_array_equal(joints[one], alone[1])


def test_bodies_are_moved_to_their_places() -> None:
    body = read_body()
    rotations = np.tile(np.eye(3, dtype=np.float32), (2, 24, 1, 1))
    betas, translation = np.zeros((2, 10), np.float32), np.float32([[0, 0, 0], [1, -2, 5]])
    vertices, joints = place_bodies(body, rotations, betas, translation)
    np.testing.assert_allclose(vertices[0], body.v_template, rtol=0, atol=1e-6)
    for points in (vertices, joints):
        np.testing.assert_allclose(points[1] - points[0], points[0] * 0 + [1, -2, 5], atol=1e-6)


def test_there_and_back() -> None:
    arrays = read_body()
    again = Body.from_arrays(arrays).arrays()
    for field in fields(BodyArrays):
        value = getattr(arrays, field.name)
        if isinstance(value, np.ndarray):
            assert getattr(again, field.name).dtype == value.dtype
            np.testing.assert_array_equal(getattr(again, field.name), value)
        else:
            assert getattr(again, field.name) == value


def test_arrays_of_a_body_in_double_precision_are_single() -> None:
    arrays = random_body().arrays()
    assert arrays.v_template.dtype == np.float32
    assert arrays.faces.dtype == np.int64
