"""Backbones that read pixels and are small enough for tests; specifications of networks."""

import torch
from torch import Tensor, nn

from dualhmr.bundle import NetworkSpec
from dualhmr.keypoints import BODY_23
from dualhmr.networks import BACKBONES
from dualhmr.networks.backbones import Backbone


class TinyImageBackbone(Backbone):
    reads = ("image",)
    feature_count = 8

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, kernel_size=16, stride=16)

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.convolution(image)).mean((2, 3))


class TinyMixedBackbone(TinyImageBackbone):
    """Keypoints besides."""

    reads = ("image", "keypoints")

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * len(BODY_23), 8)

    def forward(self, image: Tensor, keypoints: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(image) + self.linear(keypoints.flatten(1))


BACKBONES["tiny_image"] = TinyImageBackbone
BACKBONES["tiny_mixed"] = TinyMixedBackbone


def tiny_network(backbone: str) -> NetworkSpec:
    """A CLIFF head on `tiny_image` or `tiny_mixed`."""
    return NetworkSpec(
        backbone=backbone,
        backbone_options={},
        reads=(*BACKBONES[backbone].reads, "box_info"),  # type: ignore[attr-defined]
        hidden=8,
        iterations=2,
        head_reads_box_info=True,
    )
