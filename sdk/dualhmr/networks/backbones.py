"""The base class of backbones, and the default one, which reads 2D keypoints instead of pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Backbone(nn.Module):
    """Base class of the networks that turn one person's inputs into features.

    Call it with the tensors named in `reads`, in that order and with the batch first; it returns
    features (N, `feature_count`).
    """

    reads: tuple[str, ...]
    feature_count: int

    def fill_constants(self) -> None:
        """Sets tensors that are neither trained nor stored, once a module has memory for them."""


# Mean and standard deviation of ImageNet's R, G and B, for values in [0, 1]: images are normalised
# with them before a backbone reads them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

# Box info has values of up to tens, the keypoints of about one.
BOX_INFO_SCALE = 0.1


class KeypointTrunk(Backbone):
    """Keypoints (N, K, 3), and box info (N, 3) where it reads it, to features (N, `feature_count`).

    A keypoint is x, y in normalised crop coordinates and a confidence; keypoints without confidence
    are read as zeros. A residual multilayer perceptron, small enough to train on a CPU. With box
    info it corresponds to CLIFF; without, to HMR, which reads the crop alone.
    """

    def __init__(
        self,
        *,
        keypoint_count: int,
        feature_count: int = 512,
        blocks: int = 3,
        reads_box_info: bool = True,
    ) -> None:
        super().__init__()
        self.reads = ("keypoints", "box_info") if reads_box_info else ("keypoints",)
        self.keypoint_count = keypoint_count
        self.feature_count = feature_count
        self.embed = nn.Linear(keypoint_count * 3 + 3 * reads_box_info, feature_count)
        self.blocks = nn.Sequential(*(ResidualBlock(feature_count) for _ in range(blocks)))
        self.norm = nn.LayerNorm(feature_count)

    def forward(self, keypoints: Tensor, box_info: Tensor | None = None) -> Tensor:
        """Raises ValueError for another number of keypoints than the trunk was made for."""
        if tuple(keypoints.shape[1:]) != (self.keypoint_count, 3):
            raise ValueError(
                f"this network reads keypoints (N, {self.keypoint_count}, 3), "
                f"got {tuple(keypoints.shape)}"
            )
        confidence = keypoints[..., 2:]
        inputs = torch.cat([keypoints[..., :2] * (confidence > 0), confidence], dim=-1).flatten(1)
        if box_info is not None:
            inputs = torch.cat([inputs, box_info * BOX_INFO_SCALE], dim=1)
        features: Tensor = F.relu(self.norm(self.blocks(self.embed(inputs))))
        return features


class ResidualBlock(nn.Module):
    """Features (N, `width`) plus what a perceptron of one hidden layer makes of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        inner: Tensor = self.contract(F.relu(self.expand(self.norm(features))))
        return features + inner
