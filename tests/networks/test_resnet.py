import pytest
import torch
from helpers.network_checks import (
    check_batch_independence,
    check_export,
    fingerprint,
    random_maps,
)

from dualhmr.networks import ResNet50


@pytest.fixture(scope="module")
def network() -> ResNet50:
    torch.manual_seed(0)
    return ResNet50().eval()


def test_gives_2048_features_per_image(network: ResNet50) -> None:
    with torch.no_grad():
        features = network(random_maps(2))
    assert features.shape == (2, ResNet50.feature_count) == (2, 2048)
    assert features.isfinite().all()


def test_an_image_alone_is_as_in_a_batch(network: ResNet50) -> None:
    check_batch_independence(network)


def test_stride_sits_on_the_3x3_convolution(network: ResNet50) -> None:
    first = network.layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))


def test_exports_with_any_batch_size() -> None:
    check_export(ResNet50)


def test_agrees_with_another_implementation() -> None:
    # Computed once with timm 1.0.31 (`resnet50`) on the same weights and image.
    expected = [0.561237, 0.0, 0.84849, 0.316449, 0.351074]
    assert fingerprint(ResNet50()) == pytest.approx(expected, rel=1e-3, abs=1e-4)
