"""Losses against a fixed target, each with its gradient: a number per person, and its derivative.

Weights hold all factors of an error: the loss's weight, its divisor, confidences, and zero for what
is not annotated.
"""

from functools import partial

import torch
from torch import Tensor

from dualhmr.objective.objective import Evidence, MeshTarget, Objective

Loss = partial[tuple[Tensor, Tensor]]
"""A function of the estimate (N, ...) -> losses (N,) and gradients (N, ...), with its constants."""


def squared_error(x: Tensor, *, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of squares; all (N, ...), the weights broadcast."""
    error = x - target
    weighted = weight * error
    return (weighted * error).flatten(1).sum(1), 2 * weighted


def absolute_error(x: Tensor, *, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of magnitudes; all (N, ...), the weights broadcast."""
    error = x - target
    return (weight * error.abs()).flatten(1).sum(1), weight * error.sign()


def scale_error(scale: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """exp(-10 s) squared, for the scale s (N, 1) of a crop camera."""
    weighted = weight * torch.exp(-20 * scale)
    return weighted[:, 0], -20 * weighted


def losses_against(evidence: Evidence, objective: Objective) -> dict[str, Loss]:
    """Each loss of `objective`, weighted, by name; those that `evidence` has the target for.

    They are functions of: keypoints in the crop (N, K, 2), joints centred between the roots
    (N, J, 3), vertices (N, 3, V), rotations (N, 24, 3, 3), betas (N, B), camera scale (N, 1).
    """
    weights = objective.weights
    losses: dict[str, Loss] = {
        "keypoints_2d": _keypoints_2d(evidence, objective),
        "camera": partial(scale_error, weight=weights["camera"]),
    }
    target = evidence.target
    if target is None:
        return losses
    annotated = _annotated(target)
    losses["joints_3d"] = _joints_3d(target, objective)
    losses["rotations"] = _where_annotated(target.rotations, annotated, weights["rotations"])
    betas_annotated = (
        annotated if target.betas_annotated is None else annotated & target.betas_annotated
    )
    losses["betas"] = _where_annotated(target.betas, betas_annotated, weights["betas"])
    if target.vertices is not None and weights["vertices"]:
        losses["vertices"] = _vertices(target.vertices, annotated, weights["vertices"])
    return losses


def _keypoints_2d(evidence: Evidence, objective: Objective) -> Loss:
    confidence = evidence.confidence * objective.available
    counts = confidence > 0
    weight = objective.weights["keypoints_2d"] / (2 * objective.keypoint_count)
    return partial(
        squared_error,
        target=torch.where(counts[..., None], evidence.keypoints, 0.0),
        weight=weight * torch.where(counts, confidence, 0.0)[..., None],
    )


def _joints_3d(target: MeshTarget, objective: Objective) -> Loss:
    # Not an index of both, which a capture on a GPU forbids.
    root = (
        target.joints[:, objective.root[0], None] + target.joints[:, objective.root[1], None]
    ) / 2
    available = objective.joints_available
    weight = objective.weights["joints_3d"] / (3 * objective.joint_count)
    confidence = available.to(target.joints).expand(target.joints.shape[:2])
    if target.joints_confidence is not None:
        confidence = confidence * target.joints_confidence
    return partial(
        squared_error, target=target.joints - root, weight=weight * confidence[..., None]
    )


def _vertices(vertices: Tensor, annotated: Tensor, weight: float) -> Loss:
    planes = torch.where(annotated[:, None, None], vertices.mT, 0.0).contiguous()
    return partial(
        absolute_error,
        target=planes,
        weight=weight / vertices[0].numel() * annotated[:, None, None].to(vertices),
    )


def _where_annotated(target: Tensor, annotated: Tensor, weight: float) -> Loss:
    annotated = annotated.unflatten(0, (-1, *[1] * (target.ndim - 1)))
    return partial(
        squared_error,
        target=torch.where(annotated, target, 0.0),
        weight=weight / target[0].numel() * annotated.to(target),
    )


def _annotated(target: MeshTarget) -> Tensor:
    """(N,) bool."""
    if target.annotated is None:
        return torch.ones_like(target.betas[:, 0], dtype=torch.bool)
    return target.annotated
