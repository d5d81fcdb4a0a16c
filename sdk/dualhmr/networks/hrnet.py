"""The trunk of HRNet-W48 (Sun et al., CVPR 2019; Wang et al., TPAMI 2020).

Four branches run side by side at 1/4, 1/8, 1/16 and 1/32 of the image's resolution and keep
exchanging features. Attribute names and list positions are those of the public releases.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dualhmr.networks.backbones import Backbone
from dualhmr.networks.resnet import (
    BasicBlock,
    Bottleneck,
    bottlenecks,
    conv1x1,
    conv3x3,
    conv_norm,
    conv_norm_relu,
    initialise_convolutions,
)

BRANCH_WIDTHS = (48, 96, 192, 384)
COARSEST_STRIDE = 32
_STEM_WIDTH = 64
_BLOCKS_PER_BRANCH = 4


def _coarser(source: int, target: int, widths: Sequence[int]) -> nn.Sequential:
    """Branch `source` brought to the coarser branch `target`: a stride-2 convolution per level."""
    inputs = widths[source]
    steps = target - source
    kept = [conv_norm_relu(conv3x3(inputs, inputs, stride=2)) for _ in range(steps - 1)]
    # The last convolution changes the width and has no ReLU: its result is summed first.
    return nn.Sequential(*kept, conv_norm(conv3x3(inputs, widths[target], stride=2)))


def _finer(source: int, target: int, widths: Sequence[int]) -> nn.Sequential:
    """Branch `source` brought to the finer branch `target`: a 1x1 convolution, pixels repeated."""
    upsample = nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest")
    return nn.Sequential(*conv_norm(conv1x1(widths[source], widths[target])), upsample)


def _exchange(source: int, target: int, widths: Sequence[int]) -> nn.Module:
    if source == target:
        return nn.Identity()
    build = _coarser if source < target else _finer
    return build(source, target, widths)


class HighResolutionModule(nn.Module):
    """Four basic blocks on every branch; then every branch gets the sum over all branches.

    Reads and returns one tensor per branch, (N, widths[i], H / 2^i, W / 2^i).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(_BLOCKS_PER_BRANCH)))
            for width in widths
        )
        levels = range(len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(source, target, widths) for source in levels)
            for target in levels
        )
        self.relu = nn.ReLU()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One tensor per branch to as many of the same shapes."""
        maps = [branch(found) for branch, found in zip(self.branches, maps, strict=True)]
        return [self._fused(row, maps) for row in self.fuse_layers]

    def _fused(self, row: nn.Module, maps: list[Tensor]) -> Tensor:
        assert isinstance(row, nn.ModuleList)
        total, *others = (layer(found) for layer, found in zip(row, maps, strict=True))
        for other in others:
            total = total + other
        result: Tensor = self.relu(total)
        return result


def _stage(branches: int, *, modules: int) -> nn.Sequential:
    return nn.Sequential(*(HighResolutionModule(BRANCH_WIDTHS[:branches]) for _ in range(modules)))


def _transition(branches: int) -> nn.ModuleList:
    """Branches pass unchanged, and a new one is made from the coarsest of them."""
    new = nn.Sequential(
        conv_norm_relu(conv3x3(*BRANCH_WIDTHS[branches - 1 : branches + 1], stride=2))
    )
    return nn.ModuleList([*(nn.Identity() for _ in range(branches)), new])


def _first_transition(inputs: int) -> nn.ModuleList:
    """The first two branches, both made from the stem."""
    fine, coarse = BRANCH_WIDTHS[:2]
    return nn.ModuleList(
        [
            conv_norm_relu(conv3x3(inputs, fine)),
            nn.Sequential(conv_norm_relu(conv3x3(inputs, coarse, stride=2))),
        ]
    )


def _with_new_branch(transition: nn.ModuleList, maps: list[Tensor]) -> list[Tensor]:
    return [layer(found) for layer, found in zip(transition, [*maps, maps[-1]], strict=True)]


class HRNetW48Trunk(Backbone):
    """Stem and stages of HRNet-W48; the subclasses turn the branches into features."""

    reads = ("image",)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, _STEM_WIDTH, stride=2)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.conv2 = conv3x3(_STEM_WIDTH, _STEM_WIDTH, stride=2)
        self.bn2 = nn.BatchNorm2d(_STEM_WIDTH)
        self.relu = nn.ReLU()
        self.layer1 = bottlenecks(_STEM_WIDTH, 64, count=4)
        self.transition1 = _first_transition(256)
        self.stage2 = _stage(2, modules=1)
        self.transition2 = _transition(2)
        self.stage3 = _stage(3, modules=4)
        self.transition3 = _transition(3)
        self.stage4 = _stage(4, modules=3)

    def branches(self, image: Tensor) -> list[Tensor]:
        """Image (N, 3, H, W) to the four branches, (N, 48 x 2^i, H / 2^(i+2), W / 2^(i+2)).

        Raises ValueError where H or W is not a multiple of 32: the branches would not meet.
        """
        height, width = image.shape[-2:]
        if height % COARSEST_STRIDE or width % COARSEST_STRIDE:
            raise ValueError(
                f"HRNet takes images whose sides are multiples of {COARSEST_STRIDE}, "
                f"got {height}x{width} (height x width)"
            )
        stem = self.relu(self.bn1(self.conv1(image)))
        stem = self.layer1(self.relu(self.bn2(self.conv2(stem))))
        maps = [layer(stem) for layer in self.transition1]
        maps = self.stage2(maps)
        maps = self.stage3(_with_new_branch(self.transition2, maps))
        four_branches: list[Tensor] = self.stage4(_with_new_branch(self.transition3, maps))
        return four_branches


_HEATMAPS = 24
_CLASSIFICATION_PLANES = (32, 64, 128, 256)


class _HeatmapLayerOfTheRelease(nn.Module):
    """The final layer of the pose network, which the release saves but never calls.

    Kept so that its checkpoints load and save completely. Its tensors are buffers, not
    parameters: optimisers and weight decay must not touch weights without an effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(_HEATMAPS, BRANCH_WIDTHS[0], 1, 1))
        self.register_buffer("bias", torch.zeros(_HEATMAPS))


def _to_coarsest(width: int, *, steps: int) -> nn.Sequential:
    layers = [conv_norm_relu(conv3x3(width, width, stride=2)) for _ in range(steps)]
    # Flat, as the release counts convolutions, norms and ReLUs in one list.
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
