"""What networks read, from what users give."""

import torch
from torch import Tensor

from dualhmr.keypoints import KeypointSet


def keypoints_input(
    keypoints: Tensor, confidence: Tensor, *, source: KeypointSet, target: KeypointSet
) -> Tensor:
    """Keypoints of one set as a network of another set reads them: (N, K', 3).

    `keypoints` (N, K, 2) in normalised crop coordinates and `confidence` (N, K) are of `source`.
    Points are matched by name; those that `source` lacks, or that are missing, are zero.
    """
    known = torch.cat([keypoints * (confidence > 0)[..., None], confidence[..., None]], dim=-1)
    absent = known.new_zeros(len(known), 1, 3)
    position = {name: index for index, name in enumerate(source.names)}
    order = [position.get(name, len(source)) for name in target.names]
    return torch.cat([known, absent], dim=1)[:, order]
