"""BlazePose's landmark network (Bazarevsky et al., 2020): a picture of one person to 3D points.

Its "full" variant, without the branches for a mask and for heat maps. The weights are Google's,
under the Apache License 2.0, and come with this package (`assets/blazepose`); they never change. So
they are buffers outside the state dict: checkpoints and bundles do not hold them, and optimisers do
not see them.
"""

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualhmr.weights import load_tensors

INPUT_SIZE = 256
LANDMARK_COUNT = 39
"""33 of the body, and six that only place the next crop of a video."""

# Of each inverted residual block: channels inside, kernel, stride, channels after it.
_BLOCKS = (
    *((64, 3, 2, 24), (144, 3, 1, 24)),
    *((144, 5, 2, 32), (192, 5, 1, 32)),
    *((192, 3, 2, 64), (384, 3, 1, 64), (384, 3, 1, 64)),
    *((384, 5, 1, 88), (528, 5, 1, 88), (528, 5, 1, 88)),
    *((528, 5, 2, 144), (864, 5, 1, 144), (864, 5, 1, 144), (864, 5, 1, 144)),
)
_STEM, _AFTER_STEM, _WIDEST, _WIDTH = 24, 16, 864, 288


_FIRST = 4
"""Layers, of which the largest map has 128 x 128 x 64 numbers: 4 MB."""


class LandmarkPrediction(NamedTuple):
    """What the network says of N pictures."""

    points: Tensor
    """(N, 39, 5): x, y in pixels of the input (its centre is 128, 128), z in the same unit, and
    logits of visible and of present."""
    world: Tensor
    """(N, 39, 3) metres about the hips; x right, y down, z away from the camera."""
    present: Tensor
    """(N,) the probability that there is a person."""


class LandmarkNetwork(nn.Module):
    """Pictures (N, 3, 256, 256), RGB in [0, 1], to `LandmarkPrediction`. Weights are zeros."""

    def __init__(self) -> None:
        super().__init__()
        channels = _AFTER_STEM
        blocks: list[nn.Module] = []
        for expanded, kernel, stride, after in _BLOCKS:
            blocks.append(_InvertedResidual(channels, expanded, kernel, stride, after))
            channels = after
        self.body = nn.Sequential(
            _Convolution(3, _STEM, 3, stride=2, bounded=True),
            _Convolution(_STEM, _STEM, 3, depthwise=True, bounded=True),
            _Convolution(_STEM, _AFTER_STEM, 1),
            *blocks,
            _Convolution(channels, _WIDEST, 1, bounded=True),
            _Convolution(_WIDEST, _WIDEST, 3, depthwise=True, bounded=True),
            _Convolution(_WIDEST, _WIDEST, 3, depthwise=True, bounded=True),
            _Convolution(_WIDEST, _WIDTH, 1, bounded=True),
            *(_Separable(halves=index in (0, 5)) for index in range(11)),
        )
        self.points = _Convolution(_WIDTH, LANDMARK_COUNT * 5, 2, padding=0)
        self.world = _Convolution(_WIDTH, LANDMARK_COUNT * 3, 2, padding=0)
        self.present = _Convolution(_WIDTH, 1, 2, padding=0)

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """See the class."""
        return self._predict(self.body[_FIRST:](self.first_maps(image)))

    def first_maps(self, image: Tensor) -> Tensor:
        """What the first layers, whose own maps are large, make of images (N, 3, H, W)."""
        maps: Tensor = self.body[:_FIRST](image)
        return maps

    def in_the_middle(self, picture: Tensor, black: Tensor) -> LandmarkPrediction:
        """Of pictures (N, 3, h, w) in the middle of black; h and w are even.

        The same as `forward` of the whole, and 10% faster: where a picture does not reach, the
        first maps are those of a black one, `black` (1, 24, 64, 64), and are not computed.
        """
        around: list[int] = []  # each of columns, then of rows
        outside: list[int] = []
        kept: list[slice] = []
        for size in picture.shape[:1:-1]:
            edge, end = (INPUT_SIZE - size) // 2, black.shape[-1] - 1
            # Pixel i of the maps reads those of the image from 4 i - 5 to 4 i + 5.
            first = max(-((5 - edge) // 4), 0)
            last = min((INPUT_SIZE - 1 - edge + 5) // 4, end)
            # Beyond their input layers take zeros. So two more are computed, and dropped.
            start = max(first - 2, 0)
            around += [
                edge - 4 * start,
                min(4 * last + 5, INPUT_SIZE - 1) - (INPUT_SIZE - 1 - edge),
            ]
            outside += [first, end - last]
            kept.append(slice(first - start, last + 1 - start))
        columns, rows = kept
        maps = self.first_maps(F.pad(picture, around))[:, :, rows, columns]
        here = torch.zeros(maps.shape[2:], dtype=maps.dtype, device=maps.device)
        whole = F.pad(maps, outside) + black * F.pad(here, outside, value=1.0)
        return self._predict(self.body[_FIRST:](whole))

    def _predict(self, maps: Tensor) -> LandmarkPrediction:
        return LandmarkPrediction(
            self.points(maps).reshape(-1, LANDMARK_COUNT, 5),
            self.world(maps).reshape(-1, LANDMARK_COUNT, 3),
            self.present(maps).sigmoid().flatten(),
        )


class _Convolution(nn.Module):
    """With a bias, and `bounded` to [0, 6] where it says so; weights are constants."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        channels: int,
        after: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        depthwise: bool = False,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.bounded = stride, bounded
        self.padding = kernel // 2 if padding is None else padding
        self.groups = channels if depthwise else 1
        shape = (after, 1 if depthwise else channels, kernel, kernel)
        self.register_buffer("weight", torch.zeros(shape), persistent=False)
        self.register_buffer("bias", torch.zeros(after), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        made = F.conv2d(
            maps,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )
        return F.relu6(made) if self.bounded else made


class _InvertedResidual(nn.Module):
    def __init__(self, channels: int, expanded: int, kernel: int, stride: int, after: int) -> None:
        super().__init__()
        self.expand = _Convolution(channels, expanded, 1, bounded=True)
        self.filter = _Convolution(
            expanded, expanded, kernel, stride=stride, depthwise=True, bounded=True
        )
        self.contract = _Convolution(expanded, after, 1)
        self.adds = stride == 1 and channels == after

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.contract(self.filter(self.expand(maps)))
        return maps + made if self.adds else made


class _Separable(nn.Module):
    """A residual block of a depthwise and a pointwise convolution; `halves` the maps or not."""

    def __init__(self, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.filter = _Convolution(
            _WIDTH,
            _WIDTH,
            3,
            stride=2 if halves else 1,
            padding=0 if halves else 1,
            depthwise=True,
            bounded=True,
        )
        self.mix = _Convolution(_WIDTH, _WIDTH, 1)

    def forward(self, maps: Tensor) -> Tensor:
        # TensorFlow's "SAME" of an even size: the odd row and column are at the end.
        padded = F.pad(maps, (0, 1, 0, 1)) if self.halves else maps
        around = F.max_pool2d(maps, 2) if self.halves else maps
        return F.relu6(around + self.mix(self.filter(padded)))


def read_landmark_weights(network: LandmarkNetwork, path: Path | None = None) -> None:
    """Copies the weights of a file into `network`, by default those in the package.

    Raises FileNotFoundError, or ValueError for a file with other tensors.
    """
    if path is None:
        path = Path(str(resources.files("dualhmr"))) / "assets/blazepose/landmarks.safetensors"
    own, tensors = dict(network.named_buffers()), load_tensors(path)
    if {name: each.shape for name, each in own.items()} != {
        name: each.shape for name, each in tensors.items()
    }:
        raise ValueError(f"{path} does not hold the weights of the landmark network")
    for name, buffer in own.items():
        buffer.copy_(tensors[name])
