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

    Raises ValueError where the shapes are not those of `source`.
    """
    if confidence.shape[1:] != (len(source),) or keypoints.shape != (*confidence.shape, 2):
        raise ValueError(
            f"keypoints {tuple(keypoints.shape)} with confidence {tuple(confidence.shape)}; "
            f"{source.name} needs (N, {len(source)}, 2) and (N, {len(source)})"
        )
    xy = keypoints.masked_fill((confidence <= 0)[..., None], 0.0)
    known = torch.cat([xy, confidence[..., None]], dim=-1)
    absent = known.new_zeros(len(known), 1, 3)
    position = {name: index for index, name in enumerate(source.names)}
    order = [position.get(name, len(source)) for name in target.names]
    return torch.cat([known, absent], dim=1)[:, order]
