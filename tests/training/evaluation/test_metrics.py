import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualhmr_training.evaluation.metrics import (
    aligned_joint_errors,
    depth_flips,
    direction_error,
    joint_errors,
    keypoint_error,
    lean,
    mpjpe,
    pa_mpjpe,
    procrustes_align,
    pve,
    pve_centred,
)


def random_points(count: int = 14, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.4, (4, count, 3)))


def random_rotations(seed: int = 5) -> Tensor:
    return torch.from_numpy(Rotation.random(4, rng=np.random.default_rng(seed)).as_matrix())


def similar(points: Tensor) -> Tensor:
    """Turned, scaled and moved, each person in another way."""
    scale = torch.tensor([0.5, 1.0, 2.0, 30.0], dtype=torch.float64)[:, None, None]
    shift = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64)
    return scale * points @ random_rotations().mT + shift


def test_error_by_hand() -> None:
    points = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    truth = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 3.0, 4.0]], [[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]])
    # Root at the origin: (1, 0, 0) against (1, 3, 4), and 0 against (3, 4, 0).
    assert mpjpe(points, truth).tolist() == [2.5, 2.5]
    assert mpjpe(points, truth, root=1).tolist() == [2.5, 2.5]
    in_place = [(3**0.5 + 14**0.5) / 2, 2.5]
    torch.testing.assert_close(mpjpe(points, truth, root=None), torch.tensor(in_place))


def test_error_ignores_where_the_root_is_and_nothing_else() -> None:
    points, truth = random_points(), random_points(seed=1)
    error = mpjpe(points, truth)
    torch.testing.assert_close(mpjpe(points + 7, truth - 2), error)
    torch.testing.assert_close(mpjpe(10 * points, 10 * truth), 10 * error)
    assert (mpjpe(points, truth, root=3) != error).all()
    assert mpjpe(points, points + 7).max() < 1e-12


def test_root_can_be_counted_from_the_end() -> None:
    points, truth = random_points(), random_points(seed=1)
    torch.testing.assert_close(mpjpe(points, truth, root=-1), mpjpe(points, truth, root=13))


def test_similar_points_have_no_error_after_alignment() -> None:
    points = random_points()
    assert pa_mpjpe(similar(points), points).max() < 1e-12
    assert pa_mpjpe(points, similar(points)).max() < 1e-11


def test_error_after_alignment_is_that_of_any_similar_points() -> None:
    points, truth = random_points(), random_points(seed=1)
    torch.testing.assert_close(pa_mpjpe(similar(points), truth), pa_mpjpe(points, truth))


def test_reflections_are_not_aligned() -> None:
    points = random_points()
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert pa_mpjpe(mirrored, points).min() > 0.05


def test_flat_points_are_aligned_with_their_mirror_image() -> None:
    flat = random_points() * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    mirrored = flat * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    # Turning over about the y axis does what the mirror does.
    assert pa_mpjpe(mirrored, flat).max() < 1e-12


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_alignment_is_that_of_scipy(mirror: float) -> None:
    points, truth = random_points(), random_points(seed=1) * 0.1
    points[..., 0] *= mirror
    truth = truth + similar(random_points())
    aligned = procrustes_align(points, truth)
    for person in range(4):
        source = points[person].numpy() - points[person].numpy().mean(0)
        target = truth[person].numpy() - truth[person].numpy().mean(0)
        turned = Rotation.align_vectors(target, source)[0].apply(source)
        scale = (turned * target).sum() / (turned**2).sum()
        expected = scale * turned + truth[person].numpy().mean(0)
        np.testing.assert_allclose(aligned[person], expected, rtol=0, atol=1e-7)


def test_no_similarity_comes_nearer_than_the_alignment() -> None:
    points, truth = random_points(5)[0], random_points(5, seed=1)[0]

    def squared_error(parameters: np.ndarray) -> float:
        turned = Rotation.from_rotvec(parameters[:3]).apply(points.numpy())
        error = np.exp(parameters[3]) * turned + parameters[4:] - truth.numpy()
        return float((error**2).sum())

    starts = np.random.default_rng(0).normal(0, 1, (6, 7))
    best = min(minimize(squared_error, start).fun for start in starts)
    aligned = procrustes_align(points[None], truth[None])[0]
    assert float((aligned - truth).square().sum()) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("at", [0.0, 0.1, 3.0])
def test_points_that_all_coincide_land_on_the_mean(at: float) -> None:
    truth = random_points()
    for points in (torch.full_like(truth, at), torch.full_like(truth, at).float()):
        aligned = procrustes_align(points, truth.to(points))
        assert aligned.isfinite().all()
    exact = procrustes_align(torch.zeros_like(truth), truth)
    torch.testing.assert_close(exact, truth.mean(1, keepdim=True).expand_as(truth))
    expected = (truth - truth.mean(1, keepdim=True)).norm(dim=-1).mean(1)
    torch.testing.assert_close(pa_mpjpe(torch.zeros_like(truth), truth), expected)


def test_everything_in_one_point_has_no_error() -> None:
    assert pa_mpjpe(torch.ones(2, 5, 3), torch.ones(2, 5, 3)).tolist() == [0, 0]


def test_points_on_a_line_are_aligned() -> None:
    along = torch.linspace(-1, 1, 6, dtype=torch.float64)[None, :, None]
    points = along * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    truth = along * torch.tensor([-4.0, 0.0, 1.0], dtype=torch.float64)
    assert pa_mpjpe(points, truth).max() < 1e-12


def test_a_person_is_measured_alone() -> None:
    points, truth = random_points(), random_points(seed=1)
    for measure in (mpjpe, pa_mpjpe):
        alone = torch.cat([measure(points[i : i + 1], truth[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(measure(points, truth), alone)


def test_error_of_vertices_by_hand() -> None:
    vertices = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]]])
    truth = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 3.0, 4.0]]])
    # The pelvis is a joint, not a vertex: (1, 1, 0) and (2, 1, 0) against (0, 0, 0) and (1, 3, 4).
    root, true_root = torch.tensor([[0.0, 0.0, 1.0]]), torch.zeros(1, 3)
    expected = torch.tensor([(2**0.5 + (1 + 4 + 16) ** 0.5) / 2])
    torch.testing.assert_close(
        pve_centred(vertices, truth, root=root, true_root=true_root), expected
    )


def test_error_of_vertices_ignores_where_the_mesh_is() -> None:
    vertices, truth = random_points(50), random_points(50, seed=1)
    root, true_root = vertices.mean(1), truth[:, 3]
    error = pve_centred(vertices, truth, root=root, true_root=true_root)
    moved = pve_centred(vertices + 7, truth - 2, root=root + 7, true_root=true_root - 2)
    torch.testing.assert_close(moved, error)
    assert pve_centred(vertices, vertices + 7, root=root, true_root=root + 7).max() < 1e-12
    in_place = pve_centred(vertices, truth, root=torch.zeros(4, 3), true_root=torch.zeros(4, 3))
    torch.testing.assert_close(in_place, mpjpe(vertices, truth, root=None))
    torch.testing.assert_close(in_place, pve(vertices, truth))


def test_errors_of_joints_by_hand() -> None:
    points = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 3.0]]])
    truth = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 3.0, 4.0], [0.0, 0.0, 2.0]]])
    assert joint_errors(points, truth).tolist() == [[0, 5, 0]]


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_errors_of_aligned_joints_are_those_of_scipy(noise: float) -> None:
    truth = random_points()
    points = similar(truth + noise * random_points(seed=1))
    errors = aligned_joint_errors(points, truth)
    for person in range(4):
        # SciPy's may reflect, but so near to the truth it never gains by it.
        expected, aligned, _ = procrustes(truth[person].numpy(), points[person].numpy())
        size = (truth[person] - truth[person].mean(0)).norm().item()
        distances = size * np.linalg.norm(expected - aligned, axis=1)
        np.testing.assert_allclose(errors[person], distances, rtol=1e-7)
    torch.testing.assert_close(errors.mean(1), pa_mpjpe(points, truth))


def test_error_of_keypoints_by_hand() -> None:
    keypoints = torch.tensor([[[1.0, 1.0], [3.0, 4.0], [torch.nan, 7.0]]])
    truth = torch.tensor([[[1.0, 1.0], [0.0, 0.0], [torch.inf, 0.0]]])
    assert keypoint_error(keypoints, truth, torch.tensor([[True, True, False]])).item() == 2.5
    assert keypoint_error(keypoints, truth, torch.tensor([[False, True, False]])).item() == 5
    assert keypoint_error(keypoints, truth, torch.tensor([[False] * 3])).isnan().all()


LIMBS = [(0, 1), (1, 2)]


def test_limbs_are_flipped_where_they_point_the_other_way_in_depth() -> None:
    truth = torch.tensor([[[0.0, 0, 0], [0, 1, 1], [1, 1, 2]]]).repeat(4, 1, 1)
    points = truth.clone()
    points[1, 1, 2], points[1, 2, 2] = -1, -2  # both
    points[2, 2, 2] = 0.5  # the second
    truth[3] = points[3] = torch.tensor([[0.0, 0, 0], [0, 1, 0.1], [1, 1, 0.1]])  # none counts
    flips = depth_flips(points, truth, LIMBS)
    assert flips[:3].tolist() == [0, 1, 0.5]
    assert flips[3].isnan()
    moved = depth_flips(points + torch.tensor([3.0, 2, 1]), truth, LIMBS)
    assert torch.equal(moved[:3], flips[:3])


def test_angles_of_bones_and_of_the_trunk_by_hand() -> None:
    truth = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 2, 0]]])
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 1, 0]]])
    assert direction_error(points, truth, LIMBS).item() == pytest.approx(67.5)
    assert direction_error(3 * truth, truth, LIMBS).item() == pytest.approx(0, abs=0.1)
    up = torch.tensor([[0.0, 1, 0]])
    assert lean(points, up, pelvis=0, neck=2).item() == pytest.approx(math.degrees(math.atan(2)))
    assert lean(points, -up, pelvis=0, neck=1).item() == pytest.approx(90)
