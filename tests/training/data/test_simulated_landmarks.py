"""What a landmark network says of synthetic people, simulated."""

from dataclasses import replace

import pytest
import torch
from helpers.stick_figure import stick_figure
from torch import Tensor

from dualhmr.networks.landmark_trunk import LANDMARK_KEYPOINTS, LANDMARK_NAMES
from dualhmr.objective.weights import LossWeights
from dualhmr_training.data.synthetic.batches import batch_of_people, with_landmarks
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors, simulated_landmarks
from dualhmr_training.data.synthetic.people import PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import SeededRandom
from dualhmr_training.synthetic_training import synthetic_objective

COUNT = 400
NONE = LandmarkErrors(
    closed=0, unsure=0, misread=0, misread_limb=0, swapped=0, bone=0, flattest=1.05, depth=0,
    flipped=0, turn=0, jitter=0, pixel=0,
)  # fmt: skip
ROWS = list(LANDMARK_KEYPOINTS)


@pytest.fixture(scope="module")
def people() -> tuple[Tensor, Tensor]:
    """True points (N, 21, 3), metres, and where they are in the crop (N, 21, 2)."""
    body = stick_figure(dtype=torch.float32)
    pool = 0.4 * torch.randn(50, 24, 3, generator=torch.Generator().manual_seed(1))
    sampled = PeopleSampler(body, pool, Population(), seed=2).sample(COUNT)
    target = synthetic_objective(body, LossWeights(vertices=0)).target(
        sampled.rotations, sampled.betas
    )
    return target.joints[:, 24:][:, ROWS], sampled.keypoints[:, ROWS]


def simulated(people: tuple[Tensor, Tensor], errors: LandmarkErrors, seed: int = 3) -> Tensor:
    return simulated_landmarks(*people, errors, SeededRandom(seed))


def about_hips(points: Tensor) -> Tensor:
    hips = [LANDMARK_NAMES.index(f"{side}_hip") for side in ("left", "right")]
    return points - points[:, hips].mean(1, keepdim=True)


def test_without_errors_the_truth_is_said(people: tuple[Tensor, Tensor]) -> None:
    points, keypoints = people
    landmarks = simulated(people, NONE)
    torch.testing.assert_close(landmarks[..., :2], keypoints)
    truth = about_hips(points) * torch.tensor([1, 1, 1.05])
    torch.testing.assert_close(landmarks[..., 2:5], truth, rtol=1e-4, atol=1e-5)
    assert (landmarks[..., 5] == 1).all()


def test_shares_of_people(people: tuple[Tensor, Tensor]) -> None:
    landmarks = simulated(people, replace(NONE, closed=0.3, unsure=0.5))
    weight = landmarks[:, 0, 5]
    assert (landmarks[..., 5] == weight[:, None]).all()
    assert (weight == 0).float().mean() == pytest.approx(0.3, abs=0.08)
    assert ((weight > 0) & (weight < 1)).float().mean() == pytest.approx(0.35, abs=0.08)
    assert not landmarks[weight == 0].any()
    misread = simulated(people, replace(NONE, misread=0.4))
    off = (misread - simulated(people, NONE)).abs().amax((1, 2)) > 1e-3
    assert off.float().mean() == pytest.approx(0.4, abs=0.08)


@pytest.mark.parametrize("name", ["bone", "turn", "depth", "flipped", "jitter", "pixel"])
def test_every_error_is_one(people: tuple[Tensor, Tensor], name: str) -> None:
    changed = simulated(people, replace(NONE, **{name: 0.2})) - simulated(people, NONE)
    in_crop, in_space = changed[..., :2].abs().mean(), changed[..., 2:5].abs().mean()
    assert (in_space > 1e-3) == (name != "pixel")
    # What the crop shows; depth does not show, nor what other points are meant.
    assert (in_crop > 1e-3) == (name in ("bone", "turn", "pixel"))
    if name in ("depth", "flipped"):
        assert changed[..., 2:4].abs().max() < 1e-5


def test_misread_people_have_the_depth_of_others(people: tuple[Tensor, Tensor]) -> None:
    exact = simulated(people, NONE)
    misread = simulated(people, replace(NONE, misread=1, moved=0))
    # Every depth is one of somebody else, and all of a person are of the same one.
    distances = (misread[:, None, :, 4] - exact[None, :, :, 4]).norm(dim=-1)
    assert (distances.amin(1) < 1e-5).all()
    assert (distances.argmin(1) != torch.arange(COUNT)).float().mean() > 0.9


def test_limbs_are_misread_alone(people: tuple[Tensor, Tensor]) -> None:
    changed = simulated(people, replace(NONE, misread_limb=0.2)) - simulated(people, NONE)
    moved = changed.abs().amax(2) > 1e-3
    limb = [LANDMARK_NAMES.index(f"left_{part}") for part in ("elbow", "wrist")]
    assert moved[:, limb].all(1).float().mean() == pytest.approx(0.2, abs=0.08)
    trunk = [LANDMARK_NAMES.index(name) for name in ("nose", "left_shoulder", "right_hip")]
    assert not moved[:, trunk].any()


def test_left_and_right_are_swapped(people: tuple[Tensor, Tensor]) -> None:
    exact, swapped = simulated(people, NONE), simulated(people, replace(NONE, swapped=1))
    for part in ("shoulder", "knee"):
        left, right = (LANDMARK_NAMES.index(f"{side}_{part}") for side in ("left", "right"))
        torch.testing.assert_close(swapped[:, left, 2:5], exact[:, right, 2:5])
        # In the crop as far as one scale for the whole person goes.
        to_other, to_own = (
            (swapped[:, right, :2] - exact[:, side, :2]).norm(dim=-1) for side in (left, right)
        )
        assert to_other.mean() < 0.3 * to_own.mean()


def test_errors_in_the_crop_are_those_in_space(people: tuple[Tensor, Tensor]) -> None:
    """A person who is turned is turned in the crop, too: two people who fit each other."""
    exact, wrong = simulated(people, NONE), simulated(people, replace(NONE, turn=0.3))
    height = torch.tensor([0.75, 1.0])
    in_crop = ((wrong - exact)[..., :2] * height).flatten(1)
    in_space = (wrong - exact)[..., 2:4].flatten(1)
    agreement = torch.nn.functional.cosine_similarity(in_crop, in_space)
    assert (agreement > 0.99).all()


def test_batches_depend_on_the_seed_alone() -> None:
    body = stick_figure(dtype=torch.float32)
    pool = torch.zeros(1, 24, 3)
    objective = synthetic_objective(body, LossWeights(vertices=0))
    batch = batch_of_people(PeopleSampler(body, pool, Population(), seed=2).sample(9), objective)
    one, same, other = (
        with_landmarks(batch, LandmarkErrors(), seed=seed).inputs["landmarks"] for seed in (1, 1, 2)
    )
    assert one.shape == (9, 21, 6)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
