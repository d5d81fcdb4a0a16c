import pytest
import torch
from torch import Tensor

from dualhmr.networks import KeypointTrunk

KEYPOINTS, FEATURES = 5, 16


@pytest.fixture(scope="module")
def trunk() -> KeypointTrunk:
    torch.manual_seed(0)
    trunk = KeypointTrunk(keypoint_count=KEYPOINTS, feature_count=FEATURES, blocks=2)
    return trunk.double().eval()


def make_inputs(people: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    keypoints = torch.randn(people, KEYPOINTS, 3, generator=generator).double()
    keypoints[..., 2] = torch.rand(people, KEYPOINTS, generator=generator)
    keypoints[:, 1, 2] = 0
    return keypoints, 10 * torch.randn(people, 3, generator=generator).double()


def test_shapes_and_names(trunk: KeypointTrunk) -> None:
    assert trunk.reads == ("keypoints", "box_info")
    assert trunk.feature_count == FEATURES
    features = trunk(*make_inputs())
    assert features.shape == (4, FEATURES)
    assert (features >= 0).all()


def test_where_missing_keypoints_lie_does_not_matter(trunk: KeypointTrunk) -> None:
    keypoints, box_info = make_inputs()
    elsewhere = keypoints.clone()
    elsewhere[:, 1, :2] = torch.tensor([-7.0, 1e20])
    assert torch.equal(trunk(keypoints, box_info), trunk(elsewhere, box_info))


@pytest.mark.parametrize("number", range(3))
def test_seen_keypoints_matter(trunk: KeypointTrunk, number: int) -> None:
    keypoints, box_info = make_inputs()
    changed = keypoints.clone()
    changed[:, 2, number] += 0.1
    assert ((trunk(keypoints, box_info) - trunk(changed, box_info)).abs().amax(1) > 1e-4).all()


def test_the_box_matters(trunk: KeypointTrunk) -> None:
    keypoints, box_info = make_inputs()
    moved = trunk(keypoints, box_info + torch.tensor([0.0, 0.0, 1.0]))
    assert ((trunk(keypoints, box_info) - moved).abs().amax(1) > 1e-4).all()


def test_a_person_alone_is_as_in_company(trunk: KeypointTrunk) -> None:
    keypoints, box_info = make_inputs()
    together = trunk(keypoints, box_info)
    for i in range(4):
        alone = trunk(keypoints[i : i + 1], box_info[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter(trunk: KeypointTrunk) -> None:
    trunk(*make_inputs()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trunk.parameters())
    trunk.zero_grad()


def test_derivatives_by_the_input(trunk: KeypointTrunk) -> None:
    keypoints, box_info = make_inputs(people=1)
    keypoints[:, 1, 2] = 0.5  # at a confidence of zero the trunk is not continuous
    inputs = (keypoints.requires_grad_(), box_info.requires_grad_())
    assert torch.autograd.gradcheck(trunk, inputs)


def test_the_number_of_blocks_is_an_option() -> None:
    small, large = (KeypointTrunk(keypoint_count=2, feature_count=8, blocks=n) for n in (0, 3))
    assert len(small.blocks) == 0
    assert len(large.blocks) == 3
    assert small(torch.ones(1, 2, 3), torch.ones(1, 3)).shape == (1, 8)


@pytest.mark.parametrize("shape", [(4, KEYPOINTS + 1, 3), (4, KEYPOINTS, 2), (KEYPOINTS, 3)])
def test_other_keypoints_are_an_error(trunk: KeypointTrunk, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reads keypoints \(N, 5, 3\), got \("):
        trunk(torch.zeros(shape).double(), torch.zeros(4, 3).double())


def test_without_box_info_it_knows_the_crop_alone() -> None:
    torch.manual_seed(0)
    trunk = KeypointTrunk(
        keypoint_count=KEYPOINTS, feature_count=FEATURES, blocks=1, reads_box_info=False
    ).double()
    keypoints, _ = make_inputs()
    assert trunk.reads == ("keypoints",)
    assert trunk(keypoints).shape == (4, FEATURES)
