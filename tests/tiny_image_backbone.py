"""A backbone that reads pixels and is small enough for tests."""

import torch
from torch import Tensor, nn

from dualhmr.networks.backbone import Backbone


class TinyImageBackbone(Backbone):
    reads = ("image",)
    feature_count = 8

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, kernel_size=16, stride=16)

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.convolution(image)).mean((2, 3))
