"""The two residual blocks of He et al. (CVPR 2016) and the convolutions around them.

Attribute names are those of the public releases, so that their state dicts load as they are.
"""

from torch import Tensor, nn

from dualhmr.networks.backbones import Backbone


def conv3x3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the resolution, or divides it by `stride`; without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


def conv_norm_relu(convolution: nn.Conv2d) -> nn.Sequential:
    """The convolution followed by batch norm and ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def conv_norm(convolution: nn.Conv2d) -> nn.Sequential:
    """The convolution followed by batch norm."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def initialise_convolutions(network: nn.Module) -> None:
    """Draw every convolution's weights for ReLU networks (He et al., ICCV 2015), in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the unchanged input: (N, `width`, H, W) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(width, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, `width`, H, W) to maps of the same shape."""
        change = self.relu(self.bn1(self.conv1(maps)))
        change = self.bn2(self.conv2(change))
        result: Tensor = self.relu(change + maps)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: (N, `inputs`, H, W) to 4 x `planes` maps.

    The stride sits on the 3x3 convolution ("v1.5"); the first 1x1 carries it in the paper.
    """

    expansion = 4

    def __init__(self, inputs: int, planes: int, *, stride: int = 1) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = conv1x1(inputs, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride=stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        same_shape = stride == 1 and inputs == outputs
        self.downsample = (
            nn.Identity() if same_shape else conv_norm(conv1x1(inputs, outputs, stride=stride))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, `inputs`, H, W) to (N, 4 x `planes`, H / `stride`, W / `stride`)."""
        change = self.relu(self.bn1(self.conv1(maps)))
        change = self.relu(self.bn2(self.conv2(change)))
        change = self.bn3(self.conv3(change))
        result: Tensor = self.relu(change + self.downsample(maps))
        return result


def bottlenecks(inputs: int, planes: int, *, count: int, stride: int = 1) -> nn.Sequential:
    """`count` bottlenecks in a row; the first one takes the stride and the change of width."""
    first = Bottleneck(inputs, planes, stride=stride)
    width = planes * Bottleneck.expansion
    return nn.Sequential(first, *(Bottleneck(width, planes) for _ in range(count - 1)))


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
