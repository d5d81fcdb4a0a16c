from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.stick_figure import stick_figure
from torch import Tensor

from dualhmr.body.model import Body, load_body, skin
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.keypoints import BODY_23
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.detector import DetectorErrors, movenet_errors, noise_only
from dualhmr_training.data.synthetic.people import (
    Framing,
    People,
    PeopleSampler,
    Population,
    Viewpoints,
    wide_population,
)
from dualhmr_training.data.synthetic.poses import NO_VARIATION

COUNT = 300
UPRIGHT = Population(poses=NO_VARIATION, viewpoints=Viewpoints(tilted=0))


@pytest.fixture(scope="module")
def body() -> Body:
    return stick_figure(dtype=torch.float32)


def make_pool() -> Tensor:
    return 0.2 * torch.randn(30, 24, 3, generator=torch.Generator().manual_seed(3))


def sample(
    body: Body, population: Population | None = None, *, seed: int = 0, count: int = COUNT
) -> People:
    return PeopleSampler(body, make_pool(), population or Population(), seed=seed).sample(count)


@pytest.fixture(scope="module")
def people(body: Body) -> People:
    return sample(body)


def flat(people: People) -> Tensor:
    tensors = [*people[:2], *people.view, *people[3:]]
    return torch.cat([tensor.reshape(len(tensor), -1).float() for tensor in tensors], dim=1)


def surface_points(body: Body, people: People) -> np.ndarray:
    """The keypoints on the skin (N, 23, 3), before the body is placed."""
    posed = skin(body, people.rotations, people.betas)
    return keypoint_regressor(body, BODY_23).from_mesh(*posed).double().numpy()


def test_shapes(people: People) -> None:
    assert people.rotations.shape == (COUNT, 24, 3, 3)
    assert people.betas.shape == (COUNT, 10)
    assert [tuple(part.shape) for part in people.view] == [
        (COUNT, 2),
        (COUNT,),
        (COUNT,),
        (COUNT, 2),
    ]
    assert people.keypoints.shape == people.detected.shape == (COUNT, 23, 2)
    assert people.in_view.shape == people.confidence.shape == (COUNT, 23)
    assert flat(people).isfinite().all()


def test_the_same_seed_gives_the_same_people(body: Body, people: People) -> None:
    torch.manual_seed(99)  # the global generator plays no part
    assert torch.equal(flat(sample(body)), flat(people))
    assert not torch.equal(flat(sample(body, seed=1)), flat(people))


def test_people_are_those_of_the_first_default_networks(people: People) -> None:
    """Wider people are options; without them, trainings of before can be repeated."""
    found = [
        people.rotations.abs().mean(),
        people.betas.sum(),
        people.keypoints.abs().median(),
        people.detected.abs().median(),
        people.confidence.sum(),
        people.translation.mean(),
    ]
    expected = [0.4328, 2.8238, 0.4510, 0.4546, 3865.985, 2.2728]
    assert [float(value) for value in found] == pytest.approx(expected, rel=1e-3)


def test_the_next_people_are_others(body: Body) -> None:
    sampler = PeopleSampler(body, make_pool(), Population(), seed=0)
    assert not torch.equal(flat(sampler.sample(10)), flat(sampler.sample(10)))


def test_rotations_are_rotations(people: People) -> None:
    identity = torch.eye(3).expand_as(people.rotations)
    product = people.rotations @ people.rotations.mT
    torch.testing.assert_close(product, identity, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(people.rotations), torch.ones(COUNT, 24))


def test_betas_are_as_varied_as_stated(body: Body) -> None:
    assert sample(body).betas.std().item() == pytest.approx(1, rel=0.05)
    assert sample(body, replace(Population(), beta_scale=0)).betas.abs().max() == 0


def test_keypoints_are_a_pinhole_image_of_the_body(body: Body, people: People) -> None:
    points = surface_points(body, people)
    center, height, focal, principal = (part.double().numpy() for part in people.view)
    crop = people.keypoints.double().numpy()
    half = np.stack([0.75 * height, height], axis=1)[:, None] / 2
    rays = (crop * half + center[:, None] - principal[:, None]) / focal[:, None, None]
    depths, residuals = [], []
    for image, on_body in zip(rays, points, strict=True):
        # u (z + tz) = x + tx and v (z + tz) = y + ty: linear in where the person stands.
        zeros, ones = np.zeros(23), np.ones(23)
        u, v = image.T
        matrix = np.concatenate([np.stack([ones, zeros, -u], 1), np.stack([zeros, ones, -v], 1)])
        x, y, z = on_body.T
        right = np.concatenate([u * z - x, v * z - y])
        place = np.linalg.lstsq(matrix, right, rcond=None)[0]
        placed = on_body + place
        residuals.append(np.abs(placed[:, :2] / placed[:, 2:] - image).max())
        depths.append(placed[:, 2].min())
    assert max(residuals) < 1e-5
    assert min(depths) > 0.49


def test_people_stand_upright_in_the_image(body: Body) -> None:
    people = sample(body, UPRIGHT)
    y = dict(zip(BODY_23.names, people.keypoints[..., 1].T, strict=True))
    for below in ("left_ankle", "right_heel", "left_hip"):
        assert (y["nose"] < y[below]).double().mean() > 0.98
    assert (people.rotations[:, 0, 1, 1] < 0).all()


def test_some_people_are_tilted(body: Body) -> None:
    level = replace(UPRIGHT, viewpoints=Viewpoints(pitch=0, roll=0, tilted=0.5))
    up = -sample(body, level, count=1000).rotations[:, 0, 1, 1]
    assert (up < 0.7).double().mean().item() == pytest.approx(0.5 * 0.68, abs=0.1)


def test_the_left_is_on_the_right_of_those_who_face_the_camera(body: Body) -> None:
    people = sample(body, UPRIGHT)
    x = dict(zip(BODY_23.names, people.keypoints[..., 0].T, strict=True))
    facing = people.rotations[:, 0, 2, 2] < -0.8
    away = people.rotations[:, 0, 2, 2] > 0.8
    rightwards = x["left_shoulder"] > x["right_shoulder"]
    assert rightwards[facing].double().mean() > 0.95
    assert rightwards[away].double().mean() < 0.05


def test_the_box_is_that_of_the_detected_keypoints(people: People) -> None:
    known = people.confidence > 0
    for i in range(20):
        detected = people.detected[i, known[i]]
        low, high = detected.amin(0), detected.amax(0)
        torch.testing.assert_close(low + high, torch.zeros(2), rtol=0, atol=1e-4)
        # One side of the crop is 1.2 times theirs, the other at least that.
        assert max(high) == pytest.approx(1 / 1.2, rel=1e-4)


def test_missing_keypoints_have_no_confidence(people: People) -> None:
    assert (people.confidence >= 0).all()
    assert (people.confidence <= 1).all()
    assert ((people.confidence == 0) | (people.confidence >= 0.4)).all()
    assert (people.confidence > 0).sum(1).min() >= 6
    assert 0.1 < (people.confidence == 0).double().mean() < 0.6


def test_the_detector_is_as_exact_as_stated(body: Body) -> None:
    level = 0.03
    population = Population(poses=NO_VARIATION, detector=noise_only(level))
    people = sample(body, population, count=2000)
    half = torch.stack([0.75 * people.view.box_height, people.view.box_height], 1)[:, None] / 2
    seen = people.keypoints * half
    coco = seen[:, :17]
    size = (coco.amax(1) - coco.amin(1)).amax(1)
    relative = (people.detected * half - seen) / size[:, None, None]
    assert relative.std().item() == pytest.approx(level, rel=0.01)
    assert not people.confidence[:, 17:].any()


def test_keypoints_far_from_the_crop_are_not_in_view(people: People) -> None:
    far = (people.keypoints.abs() >= 2.5).any(-1)
    assert torch.equal(people.in_view, ~far)
    assert people.in_view.double().mean() > 0.9


def test_people_are_of_all_sizes(body: Body) -> None:
    height = sample(body, count=1000).view.box_height
    # In units of the image's diagonal, from a seventh of the smaller side to all of it.
    low, high = torch.quantile(height, torch.tensor([0.02, 0.98])).tolist()
    assert low < 0.15
    assert high > 0.6


def test_an_empty_pool_is_an_error(body: Body) -> None:
    sampler = PeopleSampler(body, torch.zeros(0, 24, 3), Population(), seed=0)
    with pytest.raises(ValueError, match="no poses to draw from"):
        sampler.sample(1)


WITH_OBSERVED = replace(UPRIGHT, look=noise_only(0.05))


def test_observed_keypoints_are_the_detected_ones_by_default(people: People) -> None:
    assert torch.equal(people.observed, people.detected)
    assert torch.equal(people.observed_confidence, people.confidence)


@pytest.mark.parametrize("detector", [noise_only(0), DetectorErrors()])
def test_observed_keypoints_do_not_depend_on_the_detector(
    body: Body, detector: DetectorErrors
) -> None:
    people = sample(body, replace(WITH_OBSERVED, detector=detector))
    other = sample(body, replace(WITH_OBSERVED, detector=noise_only(0.03)))
    assert torch.equal(people.observed, other.observed)
    assert torch.equal(people.view.box_center, other.view.box_center)
    assert torch.equal(people.rotations, other.rotations)
    assert not torch.equal(people.detected, other.detected)


def test_errors_of_observed_and_detected_keypoints_are_unrelated(body: Body) -> None:
    people = sample(body, replace(WITH_OBSERVED, detector=noise_only(0.05)))
    known = (people.confidence > 0) & (people.observed_confidence > 0)
    errors = [
        (reported - people.keypoints)[known].flatten()
        for reported in (people.observed, people.detected)
    ]
    assert abs(torch.corrcoef(torch.stack(errors))[0, 1]) < 0.03


def test_every_pose_knows_its_row_of_the_pool(body: Body) -> None:
    people = sample(body, replace(UPRIGHT, viewpoints=Viewpoints(0, 0, 0)))
    pool = make_pool()
    expected = rotvec_to_rotmat(pool[people.pose])[:, 1:]
    torch.testing.assert_close(people.rotations[:, 1:], expected)


def test_a_camera_above_looks_down(body: Body) -> None:
    level = Viewpoints(pitch=0, roll=0, tilted=0, camera_above_m=0.45)
    pool = torch.zeros(1, 24, 3)
    people = PeopleSampler(body, pool, replace(UPRIGHT, viewpoints=level), seed=0).sample(2000)
    # Up in the camera's frame, whose z points away from it: heads are nearer than feet.
    up = people.rotations[:, 0, :, 1]
    pitch = torch.rad2deg(torch.atan2(-up[:, 2], -up[:, 1]))
    assert pitch.mean().item() == pytest.approx(7, abs=1)
    assert 0.05 < (pitch < 0).double().mean().item() < 0.25
    assert pitch.abs().max() < 60


def test_truncated_people_are_cut_off_by_their_share(body: Body) -> None:
    framing = Framing(largest=0.4, near_border=0, truncated=1.0)
    population = replace(UPRIGHT, framing=framing, detector=noise_only(0))
    people = sample(body, population, count=1000)
    # Keypoints in the image, in units of the focal length; those out of it are not reported.
    hidden = 1 - (people.confidence[:, :17] > 0).double().mean(1)
    assert (hidden > 0).double().mean() > 0.9
    assert 0.2 < hidden.mean() < 0.5
    legs = [BODY_23.index(f"{side}_ankle") for side in ("left", "right")]
    face = BODY_23.index("nose")
    below = (people.confidence[:, legs] == 0).all(1) & (people.confidence[:, face] > 0)
    above = (people.confidence[:, legs] > 0).all(1) & (people.confidence[:, face] == 0)
    assert 0.45 < below.double().mean() < 0.75
    assert 0.03 < above.double().mean() < 0.2


def test_people_of_all_ages_are_smaller_on_average() -> None:
    body = load_body()
    people = sample(body, replace(UPRIGHT, all_ages=1.0), count=400)
    rest = skin(body, torch.eye(3).expand(400, 24, 3, 3), people.betas)[0][..., 1]
    height = rest.amax(1) - rest.amin(1)
    assert height.mean().item() == pytest.approx(1.6, abs=0.06)
    assert (height < 1.4).double().mean() > 0.1
    assert height.min() > 0.75
    assert height.max() < 2.15


def test_other_bodies_have_no_ages(body: Body) -> None:
    with pytest.raises(ValueError, match=r"stick.* no known distribution over ages; set --pop"):
        sample(body, replace(Population(), all_ages=0.5))


def test_the_wide_population_samples(body: Body) -> None:
    wide = wide_population()
    assert wide.detector == movenet_errors()
    people = sample(body, replace(wide, all_ages=0.0), count=60)
    assert flat(people).isfinite().all()
    assert (people.confidence > 0).sum(1).min() >= 1
