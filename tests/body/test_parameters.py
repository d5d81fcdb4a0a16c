import pickle
import re

import numpy as np
import pytest
import torch

from dualhmr import SMPLParameters
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.rotations import rotvec_to_rotmat

BETAS = np.linspace(-1, 1, 10)
EYE = np.tile(np.eye(3), (24, 1, 1))


def random_rotvecs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(24, 3))


def test_axis_angle_is_what_it_is_in_pytorch() -> None:
    vectors = random_rotvecs()
    vectors[3] = 0
    vectors[4] = 1e-9
    vectors[5] *= np.pi / np.linalg.norm(vectors[5])
    expected = rotvec_to_rotmat(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(rotvec_to_matrix(vectors), expected, atol=1e-12)
    for given in (vectors, vectors.ravel(), vectors.astype(np.float32)):
        np.testing.assert_allclose(SMPLParameters(given, BETAS).rotations, expected, atol=1e-6)


def test_what_it_holds_is_its_own_and_cannot_be_changed() -> None:
    rotations, betas = EYE.copy(), BETAS.copy()
    body = SMPLParameters(rotations, betas)
    rotations[:], betas[:] = 7, 7
    np.testing.assert_array_equal(body.rotations, EYE)
    assert body.rotations.dtype == body.betas.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        body.betas[0] = 1
    again = pickle.loads(pickle.dumps(body))
    np.testing.assert_array_equal(again.betas, body.betas)
    assert repr(body) == "SMPLParameters(24 rotations, 10 betas)"


def test_lists_and_tensors_are_arrays() -> None:
    body = SMPLParameters(torch.eye(3).expand(24, 3, 3), [0.5] * 10)  # type: ignore[arg-type]
    np.testing.assert_array_equal(body.rotations, EYE)
    assert body.betas.tolist() == [0.5] * 10


def test_turning_turns_the_whole_body() -> None:
    body = SMPLParameters(random_rotvecs(), BETAS)
    turn = rotvec_to_matrix(np.array([0.3, -1.0, 2.0]))
    turned = body.turned(turn)
    np.testing.assert_allclose(turned.rotations[0], turn @ body.rotations[0], atol=1e-6)
    np.testing.assert_allclose(turned.rotations[1:], body.rotations[1:], atol=1e-6)
    np.testing.assert_array_equal(turned.betas, body.betas)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(3, 3\)"):
        body.turned([0.0, 0.0, 1.0])


def changed(joint: int, matrix: object) -> np.ndarray:
    rotations = EYE.copy()
    rotations[joint] = matrix
    return rotations


@pytest.mark.parametrize(
    ("rotations", "betas", "message"),
    [
        (EYE[None], BETAS, "rotations have the shape (1, 24, 3, 3), expected (24, 3, 3)"),
        (EYE[:23], BETAS, "of one person"),
        (np.zeros((24, 6)), BETAS, "rotations have the shape (24, 6)"),
        (EYE, BETAS[None], "betas have the shape (1, 10), expected (10,)"),
        (EYE, [], "betas have the shape (0,)"),
        (changed(7, 2 * np.eye(3)), BETAS, "the matrix of joint 7 is no rotation: R Rᵀ differs"),
        (changed(2, np.zeros((3, 3))), BETAS, "the matrix of joint 2 is no rotation"),
        (changed(5, np.diag([1, 1, -1])), BETAS, "the matrix of joint 5 mirrors"),
        (changed(5, np.nan), BETAS, "rotations has numbers that are not finite"),
        (EYE, BETAS * 1e300, "betas has numbers that are not finite in single precision"),
        (EYE, ["a"] * 10, "betas is ['a', 'a', 'a', 'a', 'a', 'a', ...], expected an array of num"),
        (None, BETAS, "rotations is None, expected an array of numbers"),
    ],
)
def test_what_no_body_has(rotations: object, betas: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        SMPLParameters(rotations, betas)  # type: ignore[arg-type]


def test_rounded_matrices_are_still_rotations() -> None:
    exact = rotvec_to_matrix(random_rotvecs(3))
    for rounded in (exact.round(3), exact.astype(np.float16)):
        np.testing.assert_allclose(SMPLParameters(rounded, BETAS).rotations, exact, atol=1e-3)
