"""The regressor head as the structured step reads it."""

import torch

from dualhmr.adaptation.structured import AffineHead
from dualhmr.networks.head import RegressorHead


def affine_head(head: RegressorHead) -> AffineHead:
    """A copy of the head's weights as matrices; without dropout, the head is these."""
    start = torch.cat([head.init_pose, head.init_shape, head.init_cam], dim=1)
    return AffineHead.from_parameters(
        dict(head.named_parameters()), start=start, iterations=head.iterations
    )
