"""The losses, each a number per person: tensors with the person axis first in, (N,) out.

Their forms are those of the Meta-HMR release, like the default weights in `weights.py`.
"""

import torch
from torch import Tensor


def keypoints_2d_loss(
    projected: Tensor, target: Tensor, confidence: Tensor, *, keypoint_count: int
) -> Tensor:
    """Squared error of 2D keypoints, weighted by confidence.

    `projected` and `target` (N, K, 2) in normalised crop coordinates, `confidence` (N, K). The sum
    is divided by the fixed 2 x `keypoint_count` of the network's own set, not by the number of
    keypoints found: so few keypoints pull less against the pseudo mesh, and the same points as part
    of a larger set give the same loss. Positions with zero confidence do not count, even if they
    are infinite or NaN.
    """
    difference = torch.where(confidence[..., None] > 0, projected - target, 0.0)
    squared = difference.square().sum(-1)
    return (confidence * squared).sum(-1) / (2 * keypoint_count)


def joints_3d_loss(
    joints: Tensor,
    target: Tensor,
    *,
    root: tuple[int, int],
    available: Tensor | None = None,
    confidence: Tensor | None = None,
) -> Tensor:
    """Mean squared error of 3D joints (N, J, 3) in metres, both centred between two of them.

    The mean is over the joints that are `available` (J,) on the body (None: all); `confidence`
    (N, J) weights their errors.
    """

    def centred(points: Tensor) -> Tensor:
        return points - points[:, list(root)].mean(1, keepdim=True)

    squared = (centred(joints) - centred(target)).square().mean(2)
    if confidence is not None:
        squared = confidence * squared
    return squared.mean(1) if available is None else squared[:, available].mean(1)


def vertices_loss(vertices: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of vertices (N, V, 3) in metres."""
    return (vertices - target).abs().mean((1, 2))


def rotations_loss(rotations: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of rotation matrices (N, 24, 3, 3)."""
    return (rotations - target).square().mean((1, 2, 3))


def betas_loss(betas: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of shape coefficients (N, B)."""
    return (betas - target).square().mean(1)


def camera_loss(crop_camera: Tensor) -> Tensor:
    """Keeps the scale, first of (N, 3), positive: exp(-10 s) squared."""
    return torch.exp(-10 * crop_camera[:, 0]).square()
