"""The field's measures of 3D error, per person: points (N, J, 3) in, (N,) out, in their unit."""

import torch
from torch import Tensor


def mpjpe(points: Tensor, truth: Tensor, *, root: int | None = 0) -> Tensor:
    """Mean per-joint position error after putting point `root` of both at the origin.

    With `root` None the points are compared where they are (PVE, on aligned vertices).
    """
    if root is not None:
        points = points - points[:, [root]]
        truth = truth - truth[:, [root]]
    return (points - truth).norm(dim=-1).mean(1)


def pa_mpjpe(points: Tensor, truth: Tensor) -> Tensor:
    """Mean per-joint position error after the best rotation, translation and scale (Procrustes)."""
    return (procrustes_align(points, truth) - truth).norm(dim=-1).mean(1)


def procrustes_align(points: Tensor, truth: Tensor) -> Tensor:
    """The similarity of `points` (N, J, 3) that comes nearest to `truth`, in the mean square.

    Umeyama's closed form; reflections are not allowed. Points that all coincide have no size to
    scale: they land on the mean of `truth`.
    """
    mean, true_mean = points.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    centred, true_centred = points - mean, truth - true_mean
    u, singular, vh = torch.linalg.svd(centred.mT @ true_centred)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
    rotation = u @ (sign[..., None] * vh)
    spread = centred.square().sum((1, 2))
    scale = (singular * sign).sum(1) / torch.where(spread > 0, spread, 1)
    return scale[:, None, None] * (centred @ rotation) + true_mean
