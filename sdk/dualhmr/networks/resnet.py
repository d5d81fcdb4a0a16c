"""ResNet-50 without its classifier (He et al., CVPR 2016), as HMR, SPIN and CLIFF use it."""

from torch import Tensor, nn

from dualhmr.networks.backbone import Backbone
from dualhmr.networks.residual import bottlenecks, initialise_convolutions


class ResNet50(Backbone):
    """Normalised images (N, 3, H, W) to features (N, 2048).

    The last maps, at 1/32 of the resolution (8x6 for a 256x192 crop), are averaged. State-dict
    names are the usual ones (`conv1`, `layer1.0.conv1`, ...). Weights start random; nothing is
    downloaded.
    """

    reads = ("image",)
    feature_count = 2048

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = bottlenecks(64, 64, count=3)
        self.layer2 = bottlenecks(256, 128, count=4, stride=2)
        self.layer3 = bottlenecks(512, 256, count=6, stride=2)
        self.layer4 = bottlenecks(1024, 512, count=3, stride=2)
        initialise_convolutions(self)

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, 3, H, W), normalised as `ImageNormaliser` does, to features (N, 2048)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        features: Tensor = maps.mean(dim=(2, 3))
        return features
