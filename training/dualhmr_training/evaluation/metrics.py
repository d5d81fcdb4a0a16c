"""The field's measures of error, per person, in the unit of what comes in.

Joints are points (N, J, 3), meshes (N, V, 3), 2D keypoints (N, K, 2); every measure is (N,), or
(N, J) where it is one of every joint.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def mpjpe(points: Tensor, truth: Tensor, *, root: int | None = 0) -> Tensor:
    """Mean per-joint position error after putting point `root` of both at the origin.

    With `root` None the points are compared where they are.
    """
    return joint_errors(points, truth, root=root).mean(1)


def pa_mpjpe(points: Tensor, truth: Tensor) -> Tensor:
    """Mean per-joint position error after the best rotation, translation and scale (Procrustes)."""
    return aligned_joint_errors(points, truth).mean(1)


def pve(vertices: Tensor, truth: Tensor) -> Tensor:
    """Mean per-vertex error of meshes where they are.

    As SPIN and the paper's release compare them: posed without a translation, each in its body's
    own frame, not centred on a joint.
    """
    return mpjpe(vertices, truth, root=None)


def pve_centred(vertices: Tensor, truth: Tensor, *, root: Tensor, true_root: Tensor) -> Tensor:
    """`pve` after putting the pelvis of both meshes, (N, 3) each, at the origin."""
    return pve(vertices - root[:, None], truth - true_root[:, None])


def joint_errors(points: Tensor, truth: Tensor, *, root: int | None = 0) -> Tensor:
    """The distances (N, J) that `mpjpe` is the mean of."""
    if root is not None:
        points = points - points[:, [root]]
        truth = truth - truth[:, [root]]
    return (points - truth).norm(dim=-1)


def aligned_joint_errors(points: Tensor, truth: Tensor) -> Tensor:
    """The distances (N, J) that `pa_mpjpe` is the mean of."""
    return joint_errors(procrustes_align(points, truth), truth, root=None)


def keypoint_error(keypoints: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Mean distance of the 2D keypoints for which `counted` (N, K) is true.

    Positions of the others mean nothing, be they infinite or NaN; NaN for who has none that counts.
    """
    difference = torch.where(counted[..., None], keypoints - truth, 0.0)
    return difference.norm(dim=-1).sum(1) / counted.sum(1)


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


_FLAT = 0.2
"""Of a limb's length: with less depth than this it is seen from the side and has no wrong way."""


def depth_flips(points: Tensor, truth: Tensor, limbs: Sequence[tuple[int, int]]) -> Tensor:
    """Share (N,) of limbs that point away from the camera instead of towards it, or the reverse.

    `limbs` are pairs of joints; z is depth. Limbs that are nearly in the image plane do not count:
    NaN for who has no other.
    """
    first, second = (list(ends) for ends in zip(*limbs, strict=True))
    found, true = (each[:, second] - each[:, first] for each in (points, truth))
    counted = true[..., 2].abs() > _FLAT * true.norm(dim=-1)
    flipped = counted & (found[..., 2] * true[..., 2] < 0)
    return flipped.sum(1) / counted.sum(1)


def direction_error(points: Tensor, truth: Tensor, bones: Sequence[tuple[int, int]]) -> Tensor:
    """Mean angle (N,), degrees, between the directions of bones, pairs of joints, and true ones."""
    first, second = (list(ends) for ends in zip(*bones, strict=True))
    found, true = (each[:, second] - each[:, first] for each in (points, truth))
    return _degrees_between(found, true).mean(1)


def lean(points: Tensor, up: Tensor, *, pelvis: int, neck: int) -> Tensor:
    """Angle (N,), degrees, of the trunk from the vertical; `up` (N, 3) is its upward direction."""
    return _degrees_between(points[:, neck] - points[:, pelvis], up.to(points))


def _degrees_between(a: Tensor, b: Tensor) -> Tensor:
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    return torch.rad2deg(cosine.clamp(-1, 1).acos())
