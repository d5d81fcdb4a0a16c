import pytest
import torch
import torch.nn.functional as F
from helpers.network_checks import (
    check_batch_independence,
    check_export,
    fill_reproducibly,
    fingerprint,
    random_maps,
)
from torch import Tensor, nn

from dualhmr.networks import HRNetW48Classification, HRNetW48Concatenated
from dualhmr.networks.hrnet import HighResolutionModule, HRNetW48Trunk

FEATURES = {HRNetW48Concatenated: 720, HRNetW48Classification: 2048}
both = pytest.mark.parametrize("build", FEATURES)


@both
def test_agrees_with_another_implementation(build: type[HRNetW48Trunk]) -> None:
    # Comes first, as the next one does: the fixture below would keep another 300 MB.
    # Computed once with the trunk and the classification head of timm 1.0.31 (`hrnet_w48`) on
    # the same weights and image; the concatenating head by functional calls on its branches.
    expected = {
        HRNetW48Concatenated: [125.038, 0.0, 0.0, 43.2487, 48.317],
        HRNetW48Classification: [23.0527, 0.0, 78.7829, 31.0699, 43.6863],
    }
    assert fingerprint(build()) == pytest.approx(expected[build], rel=1e-3, abs=1e-4)


@both
def test_exports_with_any_batch_size(build: type[HRNetW48Trunk]) -> None:
    check_export(build)


@pytest.fixture(scope="module", params=FEATURES)
def network(request: pytest.FixtureRequest) -> HRNetW48Trunk:
    """One at a time: each has 300 MB of weights."""
    torch.manual_seed(0)
    built: HRNetW48Trunk = request.param()
    return built.eval()


@pytest.fixture
def concatenated_on_meta() -> HRNetW48Concatenated:
    """For shapes and names: without weights."""
    with torch.device("meta"):
        return HRNetW48Concatenated().eval()


def test_feature_counts(network: HRNetW48Trunk) -> None:
    with torch.no_grad():
        features = network(random_maps(1))
    assert features.shape == (1, network.feature_count) == (1, FEATURES[type(network)])
    assert features.isfinite().all()


def test_an_image_alone_is_as_in_a_batch(network: HRNetW48Trunk) -> None:
    check_batch_independence(network)


def test_branches_halve_in_size_and_double_in_width(
    concatenated_on_meta: HRNetW48Concatenated,
) -> None:
    maps = concatenated_on_meta.branches(random_maps(1).to("meta"))
    assert [tuple(found.shape[1:]) for found in maps] == [
        (48, 64, 48),
        (96, 32, 24),
        (192, 16, 12),
        (384, 8, 6),
    ]


def test_sides_must_be_multiples_of_32(concatenated_on_meta: HRNetW48Concatenated) -> None:
    with pytest.raises(ValueError, match="multiples of 32, got 100x64"):
        concatenated_on_meta(torch.empty(1, 3, 100, 64, device="meta"))


def test_layer_never_called_is_no_parameter(concatenated_on_meta: HRNetW48Concatenated) -> None:
    network = concatenated_on_meta
    assert "final_layer.weight" in network.state_dict()
    assert not [name for name, _ in network.named_parameters() if name.startswith("final_layer")]


def normed(maps: Tensor, weights: dict[str, Tensor], name: str, *, stride: int = 1) -> Tensor:
    """Convolution `name`.0 and batch norm `name`.1 of a state dict."""
    kernel = weights[f"{name}.0.weight"]
    maps = F.conv2d(maps, kernel, stride=stride, padding=kernel.shape[-1] // 2)
    mean, var = weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"]
    return F.batch_norm(maps, mean, var, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"])


def test_exchange_between_branches() -> None:
    module = HighResolutionModule((4, 6, 8)).eval()
    fill_reproducibly(module)
    module.branches = nn.ModuleList(nn.Identity() for _ in range(3))
    weights = {name.removeprefix("fuse_layers."): t for name, t in module.state_dict().items()}
    fine, middle, coarse = (torch.randn(2, 4 + 2 * i, 16 >> i, 8 >> i) for i in range(3))

    down_fine = normed(F.relu(normed(fine, weights, "2.0.0", stride=2)), weights, "2.0.1", stride=2)
    up_coarse = normed(coarse, weights, "0.2").repeat_interleave(4, 2).repeat_interleave(4, 3)
    up_middle = normed(middle, weights, "0.1").repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected_fine = F.relu(fine + up_middle + up_coarse)
    expected_coarse = F.relu(down_fine + normed(middle, weights, "2.1.0", stride=2) + coarse)

    with torch.no_grad():
        fused = module([fine, middle, coarse])
    torch.testing.assert_close(fused[0], expected_fine)
    torch.testing.assert_close(fused[2], expected_coarse)
