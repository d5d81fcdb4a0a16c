import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualhmr.rotations import (
    rot6d_to_rotmat,
    rotmat_to_rot6d,
    rotmat_to_rotvec,
    rotvec_to_rotmat,
)

ANGLES = [0.0, 1e-12, 1e-8, 1e-5, 9.99e-4, 1.001e-3, 0.1, 1.0, 2.5, 3.1]
NEAR_PI = [math.pi - 1e-3, math.pi - 1e-6, math.pi - 1e-9, math.pi]


def axes(count: int = 12) -> Tensor:
    """Unit vectors, the coordinate axes and their opposites first."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    along = torch.eye(3, dtype=torch.float64)
    return torch.cat([along, -along, drawn / drawn.norm(dim=1, keepdim=True)])


def random_rotvecs(count: int = 50) -> Tensor:
    """Vectors of angles up to pi."""
    return torch.from_numpy(Rotation.random(count, rng=np.random.default_rng(1)).as_rotvec())


def check_rotations(rotmat: Tensor, tolerance: float = 1e-12) -> None:
    identity = torch.eye(3, dtype=rotmat.dtype).expand_as(rotmat)
    torch.testing.assert_close(rotmat @ rotmat.mT, identity, rtol=0, atol=tolerance)
    ones = torch.ones(rotmat.shape[:-2], dtype=rotmat.dtype)
    torch.testing.assert_close(torch.linalg.det(rotmat), ones, rtol=0, atol=tolerance)


@pytest.mark.parametrize("angle", ANGLES + NEAR_PI)
def test_rotation_vectors_become_the_rotations_of_scipy(angle: float) -> None:
    rotvec = axes() * angle
    rotmat = rotvec_to_rotmat(rotvec)
    check_rotations(rotmat)
    np.testing.assert_allclose(rotmat, Rotation.from_rotvec(rotvec).as_matrix(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [4.0, 2 * math.pi, 20.0])
def test_vectors_longer_than_pi_are_rotations_too(angle: float) -> None:
    rotvec = axes() * angle
    expected = Rotation.from_rotvec(rotvec).as_matrix()
    np.testing.assert_allclose(rotvec_to_rotmat(rotvec), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("angle", ANGLES + NEAR_PI[:-1])
def test_vectors_come_back_from_their_matrices(angle: float) -> None:
    rotvec = axes() * angle
    back = rotmat_to_rotvec(rotvec_to_rotmat(rotvec))
    # Near pi the matrix is stationary along the axis' turning over; the angle stays sharp.
    torch.testing.assert_close(back, rotvec, rtol=0, atol=1e-13)


def test_half_turns_come_back_as_half_turns() -> None:
    rotmat = rotvec_to_rotmat(axes() * math.pi)
    back = rotmat_to_rotvec(rotmat)
    lengths = torch.full(back.shape[:1], math.pi, dtype=torch.float64)
    torch.testing.assert_close(back.norm(dim=-1), lengths, rtol=0, atol=1e-12)
    torch.testing.assert_close(rotvec_to_rotmat(back), rotmat, rtol=0, atol=1e-12)


def test_matrices_become_the_vectors_of_scipy() -> None:
    rotvec = random_rotvecs(200)
    rotmat = torch.from_numpy(Rotation.from_rotvec(rotvec).as_matrix())
    torch.testing.assert_close(rotmat_to_rotvec(rotmat), rotvec, rtol=0, atol=1e-12)


def test_single_precision_is_as_good_as_its_rounding() -> None:
    rotvec = (axes()[:, None] * torch.tensor(ANGLES[2:] + NEAR_PI)[:, None]).float()
    back = rotvec_to_rotmat(rotmat_to_rotvec(rotvec_to_rotmat(rotvec)))
    assert back.dtype == torch.float32
    torch.testing.assert_close(back.double(), rotvec_to_rotmat(rotvec.double()), rtol=0, atol=2e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-4, 9.9e-4, 1.01e-3, 1e-2, 0.5, 3.0])
def test_gradients_in_single_precision_are_those_in_double(angle: float) -> None:
    rotvec = axes()[7] * angle
    jacobian = torch.autograd.functional.jacobian
    single, double = jacobian(rotvec_to_rotmat, rotvec.float()), jacobian(rotvec_to_rotmat, rotvec)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 0.3, 2.0, math.pi])
def test_gradcheck_of_rotation_vectors(angle: float) -> None:
    rotvec = (axes(2) * angle).requires_grad_()
    assert torch.autograd.gradcheck(rotvec_to_rotmat, rotvec)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 0.3, 2.0, 3.1])
def test_there_and_back_has_the_identity_as_derivative(angle: float) -> None:
    for axis in axes(2):
        derivative = torch.autograd.functional.jacobian(
            lambda rotvec: rotmat_to_rotvec(rotvec_to_rotmat(rotvec)), axis * angle
        )
        torch.testing.assert_close(derivative, torch.eye(3).double(), rtol=0, atol=1e-6)


def test_six_numbers_are_three_rows_of_two() -> None:
    rotmat = torch.arange(9.0).reshape(3, 3)
    assert rotmat_to_rot6d(rotmat).tolist() == [0, 1, 3, 4, 6, 7]


def test_six_numbers_are_orthogonalised_as_in_the_release() -> None:
    rot6d = torch.randn(20, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = []
    for numbers in rot6d.numpy():
        first, second = numbers.reshape(3, 2).T
        first = first / np.linalg.norm(first)
        second = second - first * (first @ second)
        second = second / np.linalg.norm(second)
        expected.append(np.stack([first, second, np.cross(first, second)], axis=1))
    rotmat = rot6d_to_rotmat(rot6d)
    check_rotations(rotmat)
    np.testing.assert_allclose(rotmat, np.stack(expected), rtol=0, atol=1e-12)


def test_six_numbers_ignore_the_length_of_the_first_and_the_tilt_of_the_second() -> None:
    rotmat = rotvec_to_rotmat(random_rotvecs())
    columns = rotmat_to_rot6d(rotmat).unflatten(-1, (3, 2))
    bent = torch.stack([3 * columns[..., 0], 2 * columns[..., 1] - 5 * columns[..., 0]], dim=-1)
    torch.testing.assert_close(rot6d_to_rotmat(bent.flatten(-2)), rotmat, rtol=0, atol=1e-12)


def test_matrices_come_back_from_six_numbers() -> None:
    rotmat = rotvec_to_rotmat(random_rotvecs())
    torch.testing.assert_close(rot6d_to_rotmat(rotmat_to_rot6d(rotmat)), rotmat)


def test_gradcheck_of_six_numbers() -> None:
    rot6d = torch.randn(3, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.autograd.gradcheck(rot6d_to_rotmat, rot6d.requires_grad_())


@pytest.mark.parametrize("numbers", [[0.0] * 6, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
def test_degenerate_six_numbers_give_nothing_that_is_not_finite(numbers: list[float]) -> None:
    rot6d = torch.tensor(numbers, requires_grad=True)
    rotmat = rot6d_to_rotmat(rot6d)
    rotmat.sum().backward()
    assert rot6d.grad is not None
    assert rotmat.isfinite().all()
    assert rot6d.grad.isfinite().all()


def test_any_leading_dimensions() -> None:
    rotvec = random_rotvecs(24).reshape(2, 3, 4, 3)
    rotmat = rotvec_to_rotmat(rotvec)
    assert rotmat.shape == (2, 3, 4, 3, 3)
    assert rotmat_to_rot6d(rotmat).shape == (2, 3, 4, 6)
    torch.testing.assert_close(rotmat_to_rotvec(rotmat), rotvec)
    torch.testing.assert_close(rot6d_to_rotmat(rotmat_to_rot6d(rotmat)), rotmat)
    assert rotmat_to_rotvec(rotmat[:0]).shape == (0, 3, 4, 3)
