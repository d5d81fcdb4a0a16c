import pytest
import torch
from helpers.narrow_networks import narrow_networks
from helpers.tiny_image_backbone import TinyImageBackbone
from torch import nn

from dualhmr.networks import Backbone, HRNetW48Classification, ResNet50
from dualhmr_export.onnx_files import with_folded_norms


def lively(backbone: Backbone) -> Backbone:
    """Norms as after a training, not the identity."""
    rng = torch.Generator().manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1, generator=rng)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5, generator=rng)
    return backbone.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("kind", [ResNet50, HRNetW48Classification])
@torch.no_grad()
def test_the_same_function_without_norms(
    kind: type[Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow_networks(monkeypatch)
    torch.manual_seed(0)
    backbone = lively(kind()).double()
    before, image = norms(backbone), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    expected = backbone(image)
    folded = with_folded_norms(backbone, image)
    torch.testing.assert_close(folded(image), expected, rtol=1e-10, atol=1e-10)
    assert norms(folded) == 0
    assert norms(backbone) == before > 50
    torch.testing.assert_close(backbone(image), expected, rtol=0, atol=0)


@torch.no_grad()
def test_without_norms_nothing_changes() -> None:
    torch.manual_seed(0)
    backbone, image = TinyImageBackbone().eval(), torch.randn(2, 3, 256, 192)
    folded = with_folded_norms(backbone, image)
    torch.testing.assert_close(folded(image), backbone(image), rtol=0, atol=0)
    assert folded.reads == backbone.reads
