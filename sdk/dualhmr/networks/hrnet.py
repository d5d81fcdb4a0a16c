"""The two HRNet-W48 of the Meta-HMR release: one trunk, two ways from its branches to features."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from dualhmr.networks.hrnet_trunk import BRANCH_WIDTHS, HRNetW48Trunk
from dualhmr.networks.residual import (
    Bottleneck,
    bottlenecks,
    conv3x3,
    conv_norm_relu,
    initialise_convolutions,
)

_HEATMAPS = 24
_CLASSIFICATION_PLANES = (32, 64, 128, 256)


class _HeatmapLayerOfTheRelease(nn.Module):
    """The final layer of the pose network, which the release carries along and never calls.

    Kept so that its checkpoints load and save completely. Its tensors are buffers, not
    parameters: no optimiser, weight decay or gradient should meet weights without an effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(_HEATMAPS, BRANCH_WIDTHS[0], 1, 1))
        self.register_buffer("bias", torch.zeros(_HEATMAPS))


def _to_coarsest(width: int, *, steps: int) -> nn.Sequential:
    layers = [conv_norm_relu(conv3x3(width, width, stride=2)) for _ in range(steps)]
    # Flat, since the release counts convolutions, norms and ReLUs in one list.
    return nn.Sequential(*(module for layer in layers for module in layer))


class HRNetW48Concatenated(HRNetW48Trunk):
    """Normalised images (N, 3, H, W) to features (N, 720): CLIFF's HRNet, the main network.

    The finer branches are brought to the coarsest resolution by stride-2 convolutions, all four
    are concatenated (48 + 96 + 192 + 384 = 720) and averaged. H and W: multiples of 32.
    """

    feature_count = sum(BRANCH_WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        self.final_layer = _HeatmapLayerOfTheRelease()
        self.downsample_stage_1 = _to_coarsest(BRANCH_WIDTHS[0], steps=3)
        self.downsample_stage_2 = _to_coarsest(BRANCH_WIDTHS[1], steps=2)
        self.downsample_stage_3 = _to_coarsest(BRANCH_WIDTHS[2], steps=1)
        initialise_convolutions(self)

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, 3, H, W), normalised as `ImageNormaliser` does, to features (N, 720)."""
        finest, finer, fine, coarsest = self.branches(image)
        maps = (
            self.downsample_stage_1(finest),
            self.downsample_stage_2(finer),
            self.downsample_stage_3(fine),
            coarsest,
        )
        return torch.cat(maps, dim=1).mean(dim=(2, 3))


class HRNetW48Classification(HRNetW48Trunk):
    """Normalised images (N, 3, H, W) to features (N, 2048): the ImageNet form, auxiliary network.

    Each branch is widened by a bottleneck; from fine to coarse, one is brought down to the next
    and added (Wang et al., TPAMI 2020, HRNetV2 for classification). H and W: multiples of 32.
    """

    feature_count = 2048

    def __init__(self) -> None:
        super().__init__()
        self.incre_modules = nn.ModuleList(
            bottlenecks(width, planes, count=1)
            for width, planes in zip(BRANCH_WIDTHS, _CLASSIFICATION_PLANES, strict=True)
        )
        widths = [planes * Bottleneck.expansion for planes in _CLASSIFICATION_PLANES]
        # Unlike all other convolutions of the trunk, these have a bias in the release.
        self.downsamp_modules = nn.ModuleList(
            conv_norm_relu(nn.Conv2d(fine, coarse, 3, stride=2, padding=1))
            for fine, coarse in pairwise(widths)
        )
        self.final_layer = conv_norm_relu(nn.Conv2d(widths[-1], self.feature_count, 1))
        initialise_convolutions(self)

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, 3, H, W), normalised as `ImageNormaliser` does, to features (N, 2048)."""
        maps = self.branches(image)
        widened = [widen(found) for widen, found in zip(self.incre_modules, maps, strict=True)]
        total = widened[0]
        for lower, coarser in zip(self.downsamp_modules, widened[1:], strict=True):
            total = coarser + lower(total)
        features: Tensor = self.final_layer(total).mean(dim=(2, 3))
        return features
