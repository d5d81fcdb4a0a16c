"""`ObjectiveGradient`: the head's estimate -> losses -> the gradient of some of them."""

from collections.abc import Collection
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.objective.gradient.points import (
    CropCamera,
    PlacedPoints,
    Points,
    ProjectedPoints,
    Skinned,
    Vertices,
)
from dualhmr.objective.gradient.skeleton import (
    Orthonormal,
    PosedSkeleton,
    Skeleton,
    gram_schmidt,
    gram_schmidt_backward,
)
from dualhmr.objective.gradient.targets import losses_against
from dualhmr.objective.objective import Evidence, MeshTarget, Objective

_POSE_COUNT = 24 * 6
_CAMERA_COUNT = 3


class _Stages(NamedTuple):
    """The stages' results for an estimate, which the way back reads."""

    orthonormal: Orthonormal
    skeleton: PosedSkeleton
    points: PlacedPoints
    projected: ProjectedPoints
    skin: Skinned | None
    compared: dict[str, Tensor]
    """What each loss is a function of, by its name."""


class ObjectiveGradient:
    """`objective` against the `evidence` about N persons, and its gradient, without autograd.

    Made once for the persons and called at every step. Body, evidence and estimate are all of one
    dtype and on one device.
    """

    def __init__(self, objective: Objective, evidence: Evidence) -> None:
        """Precomputes what is constant for the body and for the persons."""
        self._objective = objective
        self._skeleton = Skeleton(objective.body)
        self._points = Points(objective)
        self._point_counts = [len(objective.available), len(objective.joints_available)]
        self._counts = [_POSE_COUNT, objective.body.beta_count, _CAMERA_COUNT]
        self._vertices = Vertices(objective.body) if objective.weights["vertices"] else None
        self._set_evidence(evidence)

    def with_evidence(self, evidence: Evidence) -> "ObjectiveGradient":
        """The same objective against other evidence; the body's constants are shared."""
        other = copy(self)
        other._set_evidence(evidence)
        return other

    def target(self, rotations: Tensor, betas: Tensor) -> MeshTarget:
        """As `Objective.target`, but its joints are centred, and a capture on a GPU may hold it."""
        skeleton = self._skeleton.forward(rotations, betas)
        points = self._points.forward(skeleton.transforms, skeleton.blend).points
        vertices = None
        if self._vertices is not None:
            vertices = self._vertices.forward(skeleton.transforms, skeleton.blend).vertices.mT
        return MeshTarget(rotations, betas, points[:, self._point_counts[0] :], vertices)

    def keypoints(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """The keypoints (N, K, 3) of bodies, metres; a capture on a GPU may hold it."""
        skeleton = self._skeleton.forward(rotations, betas)
        points = self._points.forward(skeleton.transforms, skeleton.blend).points
        return points[:, : self._point_counts[0]]

    def _set_evidence(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._camera = CropCamera(self._objective.camera, evidence.view, self._objective.crop_size)
        self._losses = losses_against(evidence, self._objective)

    def __call__(
        self,
        estimate: Tensor,
        losses: Collection[str] | None = None,
        also: Collection[str] | None = (),
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses by name, (N,) each, and the gradient (N, 144 + B + 3) with respect to `estimate`.

        The estimate is pose in 6D, betas and camera, side by side, as in `HeadOutput`. The gradient
        is that of the sum of the named `losses` (None: all); those in `also` are only evaluated
        (None: all). The losses are those of `Objective.losses`. Raises ValueError
        as that does, where no loss is left to minimise, and for an estimate of another shape.
        """
        self._check_shape(estimate)
        minimised = self._objective.wanted(self._evidence, losses)
        if not minimised:
            raise ValueError(f"no loss to minimise: {losses} at {self._objective.weights}")
        names = None if losses is None or also is None else {*losses, *also}
        wanted = self._objective.wanted(self._evidence, names)
        stages = self._forward(estimate, with_vertices="vertices" in wanted)
        evaluated = {name: self._losses[name](stages.compared[name]) for name in wanted}
        gradient = self._backward(stages, {name: evaluated[name][1] for name in minimised})
        return {name: loss for name, (loss, _) in evaluated.items()}, gradient

    def _forward(self, estimate: Tensor, *, with_vertices: bool) -> _Stages:
        pose_6d, betas, camera = estimate.split(self._counts, dim=1)
        orthonormal = gram_schmidt(pose_6d.unflatten(1, (-1, 6)))
        skeleton = self._skeleton.forward(orthonormal.rotations, betas)
        points = self._points.forward(skeleton.transforms, skeleton.blend)
        keypoints, joints = points.points.split(self._point_counts, dim=1)
        projected = self._camera.forward(keypoints, camera)
        compared: dict[str, Tensor] = {
            "keypoints_2d": projected.in_crop,
            "joints_3d": joints,
            "rotations": orthonormal.rotations,
            "betas": betas,
            "camera": camera[:, :1],
        }
        skin = None
        if with_vertices and self._vertices is not None:
            skin = self._vertices.forward(skeleton.transforms, skeleton.blend)
            compared["vertices"] = skin.vertices
        return _Stages(orthonormal, skeleton, points, projected, skin, compared)

    def _backward(self, stages: _Stages, gradients: dict[str, Tensor]) -> Tensor:
        """The gradient of the estimate, from the losses' own gradients by name."""
        of = {name: torch.zeros_like(x) for name, x in stages.compared.items()} | gradients
        grad_keypoints, grad_camera = self._camera.backward(stages.projected, of["keypoints_2d"])
        grad_points = torch.cat([grad_keypoints, of["joints_3d"]], dim=1)
        grad_transforms, grad_blend = self._points.backward(stages.points, grad_points)
        if "vertices" in gradients and stages.skin is not None and self._vertices is not None:
            more = self._vertices.backward(stages.skin, of["vertices"])
            grad_transforms, grad_blend = grad_transforms + more[0], grad_blend + more[1]
        grad_rotations, grad_betas = self._skeleton.backward(
            stages.skeleton, grad_transforms, grad_blend
        )
        grad_6d = gram_schmidt_backward(stages.orthonormal, grad_rotations + of["rotations"])
        grad_scale = grad_camera[:, :1] + of["camera"]
        return torch.cat(
            [grad_6d.flatten(1), grad_betas + of["betas"], grad_scale, grad_camera[:, 1:]], dim=1
        )

    def _check_shape(self, estimate: Tensor) -> None:
        expected = (len(self._evidence.keypoints), sum(self._counts))
        if tuple(estimate.shape) != expected:
            raise ValueError(f"the estimate has shape {tuple(estimate.shape)}, expected {expected}")
