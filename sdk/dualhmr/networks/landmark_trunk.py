"""A backbone that looks at the picture with a frozen landmark network, and reads keypoints too.

The landmark network's errors are independent of the given keypoints', and its points have depth.
Where it misreads a person, its depth is worthless, which shows in the distance between its own 2D
points and the given keypoints. So the trunk reads that distance as well.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualhmr.keypoints import BODY_23
from dualhmr.networks.backbones import (
    BOX_INFO_SCALE,
    IMAGE_MEAN,
    IMAGE_STD,
    Backbone,
    ResidualBlock,
)
from dualhmr.networks.landmark_network import INPUT_SIZE, LandmarkNetwork, read_landmark_weights

_SIDES = ("left", "right")
# The landmark network's numbers of the points that `BODY_23` has too.
_LANDMARKS = {
    "nose": 0,
    **{
        f"{side}_{part}": first + step * (side == "right")
        for part, first, step in (
            *(("eye", 2, 3), ("ear", 7, 1)),
            *(("shoulder", 11, 1), ("elbow", 13, 1), ("wrist", 15, 1)),
            *(("hip", 23, 1), ("knee", 25, 1), ("ankle", 27, 1), ("heel", 29, 1)),
            ("big_toe", 31, 1),
        )
        for side in _SIDES
    },
}
LANDMARK_NAMES = tuple(name for name in BODY_23.names if name in _LANDMARKS)
"""The 21 points, in the order of `BODY_23`."""
LANDMARK_KEYPOINTS = tuple(BODY_23.index(name) for name in LANDMARK_NAMES)
"""Their rows in `BODY_23`."""
_NUMBERS = tuple(_LANDMARKS[name] for name in LANDMARK_NAMES)
# Left and right are neighbours in `BODY_23`, and slices need no list of indices on a GPU.
_HIPS, _SHOULDERS = (
    slice(LANDMARK_NAMES.index(f"left_{part}"), LANDMARK_NAMES.index(f"right_{part}") + 1)
    for part in ("hip", "shoulder")
)

_SHARE = 0.75
"""Of the input's height that the crop takes up. Most people are read within 5% of their box at 0.7
to 0.85; a crop that fills the input leaves too little around them."""
_ONE_COLOUR = 0.01
"""Less than a 255th of a channel, normalised. A crop that varies by less shows nothing."""
_SHORTEST_TRUNK = 0.1
_FARTHEST, _OFF_CROP, _APART = 5.0, 3.0, 4.0
_TRUSTED_TO, _IGNORED_FROM = 0.05, 0.08
"""Mean distances of landmarks from keypoints, in heights of the crop, between which the landmarks'
weight falls from their own to none. Chosen on people in held-out training clips, rendered, with
keypoint errors of 2% and 5%. Landmarks nearer than 4% help, those beyond 7% harm."""


class LandmarkEye(nn.Module):
    """Normalised crops (N, 3, H, W) to landmarks (N, 21, 6), those of `LANDMARK_NAMES`.

    A landmark is x, y in normalised crop coordinates; x, y, z in metres about the hips, in the
    camera frame; and a weight, the same for all: the probability that there is a person, or 0 for
    a crop of one colour.
    """

    mean: Tensor
    std: Tensor
    numbers: Tensor
    """(21,): the landmark network's numbers of the points. A list would be copied to a GPU at every
    call, and the host would wait."""
    black: Tensor
    """(1, 24, 64, 64): the landmark network's first maps of a black picture."""

    def __init__(self) -> None:
        super().__init__()
        self.network = LandmarkNetwork()
        self.register_buffer(
            "numbers", torch.zeros(len(_NUMBERS), dtype=torch.int64), persistent=False
        )
        for name in ("mean", "std"):
            self.register_buffer(name, torch.zeros(3, 1, 1), persistent=False)
        self.register_buffer("black", torch.zeros(1, 24, 64, 64), persistent=False)
        self.fill_constants()

    def fill_constants(self) -> None:
        """Sets all tensors, of which none is in the state dict."""
        if not self.mean.is_meta:
            self.mean.copy_(torch.tensor(IMAGE_MEAN).reshape(3, 1, 1))
            self.std.copy_(torch.tensor(IMAGE_STD).reshape(3, 1, 1))
            self.numbers.copy_(torch.tensor(_NUMBERS))
            read_landmark_weights(self.network)
            with torch.no_grad():
                picture = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
                self.black.copy_(self.network.first_maps(picture.to(self.black)))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        height = round(_SHARE * INPUT_SIZE)
        width = 2 * round(height * image.shape[3] / image.shape[2] / 2)
        small = F.interpolate(image, (height, width), mode="bilinear") * self.std + self.mean
        prediction = self.network.in_the_middle(small, self.black)
        points, world = (
            each.index_select(1, self.numbers) for each in (prediction.points, prediction.world)
        )
        x, y = (points[..., :2] - INPUT_SIZE / 2).unbind(-1)
        points = torch.stack([x / (width / 2), y / (height / 2)], dim=-1)
        spread = (image.amax((2, 3)) - image.amin((2, 3))).amax(1)
        weight = prediction.present * (spread > _ONE_COLOUR).to(image.dtype)
        weights = weight[:, None, None].expand(-1, len(_NUMBERS), 1)
        return torch.cat([points, world, weights], dim=2)


class LandmarkTrunk(Backbone):
    """Normalised crops, keypoints (N, 23, 3) of `BODY_23` and box info (N, 3) to features.

    A residual multilayer perceptron as `KeypointTrunk`. What it makes of the landmarks is weighted
    by the eye's own weight: where that is 0, the trunk reads keypoints and box info alone.
    Only the perceptron is trained and stored; the landmark network is part of the package.
    """

    reads = ("image", "keypoints", "box_info")
    rows: Tensor
    """(21,): `LANDMARK_KEYPOINTS`."""

    def __init__(self, *, feature_count: int = 512, blocks: int = 3) -> None:
        super().__init__()
        self.feature_count = feature_count
        self.eye = LandmarkEye()
        self.register_buffer("rows", torch.tensor(LANDMARK_KEYPOINTS), persistent=False)
        # Of each landmark: in the crop, away from its keypoint, in space.
        landmark_inputs = len(_NUMBERS) * (2 + 2 + 3)
        self.embed = nn.Linear(len(BODY_23) * 3 + 3, feature_count)
        self.look = nn.Sequential(
            nn.Linear(landmark_inputs, feature_count),
            nn.ReLU(),
            nn.Linear(feature_count, feature_count),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(feature_count) for _ in range(blocks)))
        self.norm = nn.LayerNorm(feature_count)

    def fill_constants(self) -> None:
        """As of `Backbone`: of the landmark network, and the rows."""
        self.eye.fill_constants()
        if not self.rows.is_meta:
            self.rows.copy_(torch.tensor(LANDMARK_KEYPOINTS))

    def forward(self, image: Tensor, keypoints: Tensor, box_info: Tensor) -> Tensor:
        """Raises ValueError for another number of keypoints."""
        return self.lift(self.eye(image), keypoints, box_info)

    def lift(self, landmarks: Tensor, keypoints: Tensor, box_info: Tensor) -> Tensor:
        """Features, of landmarks (N, 21, 6) as `LandmarkEye` returns them; raises as `forward`."""
        if tuple(keypoints.shape[1:]) != (len(BODY_23), 3):
            raise ValueError(
                f"this network reads keypoints (N, {len(BODY_23)}, 3), got {tuple(keypoints.shape)}"
            )
        confidence = keypoints[..., 2:]
        known = (confidence > 0).to(keypoints.dtype)
        given = torch.cat([keypoints[..., :2] * known, confidence], dim=-1).flatten(1)
        features = self.embed(torch.cat([given, box_info * BOX_INFO_SCALE], dim=1))
        points, weight = landmarks[..., :2], landmarks[:, 0, 5:]
        keypoints, known = (each.index_select(1, self.rows) for each in (keypoints, known))
        apart = (points - keypoints[..., :2]) * known
        seen = [
            points.clamp(-_OFF_CROP, _OFF_CROP),
            (_APART * apart).clamp(-_APART, _APART),
            in_trunk_lengths(landmarks[..., 2:5]).clamp(-_FARTHEST, _FARTHEST),
        ]
        weight = weight * _trust(apart, known)
        features = features + weight * self.look(torch.cat(seen, dim=2).flatten(1))
        made: Tensor = F.relu(self.norm(self.blocks(features)))
        return made


def _trust(apart: Tensor, known: Tensor) -> Tensor:
    """(N, 1) from 1 to 0, of landmarks that are `apart` (N, 21, 2) from the keypoints `known`."""
    # Of normalised crop coordinates, two are the crop's height, and the crop is 3 by 4.
    across, down = apart.unbind(-1)
    distance = (across.square() * (9 / 16) + down.square() + 1e-12).sqrt() / 2
    mean = (distance * known[..., 0]).sum(1, keepdim=True) / known.sum(1).clamp(min=1)
    return ((_IGNORED_FROM - mean) / (_IGNORED_FROM - _TRUSTED_TO)).clamp(0, 1)


def in_trunk_lengths(points: Tensor) -> Tensor:
    """Points (N, 21, 3) about the hips, in units of the trunk: a landmark network's scale is its
    own.
    """
    centred = points - points[:, _HIPS].mean(1, keepdim=True)
    length = centred[:, _SHOULDERS].mean(1).square().sum(-1).add(1e-12).sqrt()
    return centred / length.clamp(min=_SHORTEST_TRUNK)[:, None, None]
