"""The trunk of HRNet-W48 (Sun et al., CVPR 2019; Wang et al., TPAMI 2020).

Four branches run side by side at 1/4, 1/8, 1/16 and 1/32 of the image's resolution and keep
exchanging what they found. Attribute names and list positions are those of the public releases.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from dualhmr.networks.backbone import Backbone
from dualhmr.networks.residual import (
    BasicBlock,
    bottlenecks,
    conv1x1,
    conv3x3,
    conv_norm,
    conv_norm_relu,
)

BRANCH_WIDTHS = (48, 96, 192, 384)
COARSEST_STRIDE = 32
_STEM_WIDTH = 64
_BLOCKS_PER_BRANCH = 4


def _coarser(source: int, target: int, widths: Sequence[int]) -> nn.Sequential:
    """Branch `source` brought to the coarser branch `target`: a stride-2 convolution a level."""
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

    Takes and gives one tensor a branch, (N, widths[i], H / 2^i, W / 2^i).
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
        """One tensor a branch to as many of the same shapes."""
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
    """Stem and stages of HRNet-W48; the subclasses say how the branches become features."""

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
