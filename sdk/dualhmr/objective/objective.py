"""`Objective`: a weighted sum of losses against fixed evidence.

One objective serves Eq. 1-3 (training, target = ground truth), Eq. 4-5 (EFT, no target) and Eq. 9
(test time, target = the auxiliary network's pseudo mesh). The paper's method rests on training and
test time having the same one.
"""

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.model import Body, Pose, pose_skeleton, skin_vertices
from dualhmr.body.point_regressors import (
    SKELETON_HIPS,
    PointRegressor,
    compared_points,
    skeleton_regressor,
)
from dualhmr.body.points import BodyPoints
from dualhmr.camera import CAMERAS, CROP_SIZE, CropSize, FullCamera, View, project_to_crop
from dualhmr.keypoints import network_keypoints
from dualhmr.networks import HeadOutput
from dualhmr.objective import losses
from dualhmr.objective.weights import WITHOUT_TARGET as WITHOUT_TARGET
from dualhmr.objective.weights import LossWeights


class MeshTarget(NamedTuple):
    """The mesh to approach: ground truth in training, the pseudo mesh at test time."""

    rotations: Tensor
    """(N, 24, 3, 3)."""
    betas: Tensor
    """(N, 10)."""
    joints: Tensor
    """(N, J, 3) metres: the joints of `Objective.points`."""
    vertices: Tensor | None
    """(N, V, 3) metres; needed only where the loss on vertices has a weight."""
    joints_confidence: Tensor | None = None
    """(N, J) weights of the joints; None is 1 for all. Joints that the body lacks do not count."""
    annotated: Tensor | None = None
    """(N,) bool: whether rotations, betas and vertices are annotated; None is for all persons."""
    betas_annotated: Tensor | None = None
    """(N,) bool: whether the betas count, where `annotated`; None is for all persons."""


class Evidence(NamedTuple):
    """What the losses of N persons compare with; constant during an adaptation."""

    keypoints: Tensor
    """(N, K, 2) in normalised crop coordinates."""
    confidence: Tensor
    """(N, K), zero where a keypoint is missing."""
    view: View
    target: MeshTarget | None


class Objective:
    """The losses of a `HeadOutput` against `Evidence`, by name and weighted, one number a person.

    `keypoints` are the 2D points that evidence holds, in its order; `keypoint_count` is that of the
    set the network was trained with (see `keypoints_2d_loss`). 3D joints are `joints`, or the
    24 of the skeleton, compared after centring between the two with the indices `root`, the hips.
    `body_points` computes the keypoints, then the joints. `crop_size` is that of the networks'
    crops, which crop coordinates and HMR's camera refer to.
    """

    def __init__(
        self,
        body: Body,
        *,
        keypoints: PointRegressor,
        keypoint_count: int,
        camera: str,
        weights: LossWeights,
        joints: PointRegressor | None = None,
        root: tuple[int, int] = SKELETON_HIPS,
        crop_size: CropSize = CROP_SIZE,
    ) -> None:
        """Raises ValueError for an unknown camera convention."""
        if camera not in CAMERAS:
            raise ValueError(f"unknown camera {camera!r}; known are {', '.join(CAMERAS)}")
        self.body = body
        self.camera = CAMERAS[camera]
        self.crop_size = crop_size
        self.keypoint_count = keypoint_count
        self.weights: dict[str, float] = asdict(weights)
        self.root = root
        self.body_points = BodyPoints(body, keypoints + (joints or skeleton_regressor(body)))
        self._split = len(keypoints.names)
        self.joint_count = int(self.joints_available.sum())
        """How many joints the body has: a mean is over these."""

    def weighted(self, weights: LossWeights) -> "Objective":
        """The same losses at other weights; a target of one may lack vertices for the other."""
        other = copy(self)
        other.weights = asdict(weights)
        return other

    def losses(
        self, output: HeadOutput, evidence: Evidence, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses (N,), by name: those in `names`, or all; those of weight zero never.

        Without a target only `keypoints_2d` and `camera` are available. Keypoints that the body
        lacks do not count. Raises ValueError for another loss without a target, the loss on
        vertices against a target without them, and an unknown name.
        """
        wanted = self.wanted(evidence, names)
        rotations = output.rotations
        pose = pose_skeleton(self.body, rotations, output.betas)
        keypoints, joints = self.points(pose)
        inputs = _LossInputs(self, output, rotations, pose, keypoints, joints, evidence)
        return {name: self.weights[name] * _LOSSES[name](inputs) for name in wanted}

    def wanted(self, evidence: Evidence, names: Collection[str] | None = None) -> list[str]:
        """Names of the losses that `losses` returns, in its order; raises ValueError as it does."""
        unknown = set(names or ()) - set(self.weights)
        if unknown:
            raise ValueError(
                f"unknown losses {', '.join(sorted(unknown))}; known are {', '.join(self.weights)}"
            )
        weighted = [name for name, weight in self.weights.items() if weight]
        wanted = [name for name in weighted if names is None or name in names]
        if evidence.target is None and not WITHOUT_TARGET.issuperset(wanted):
            raise ValueError("a loss against a mesh was asked for, but the evidence has no target")
        without_vertices = evidence.target is not None and evidence.target.vertices is None
        if without_vertices and "vertices" in wanted:
            raise ValueError("the loss on vertices was asked for, but the target has none")
        return wanted

    def target(self, rotations: Tensor, betas: Tensor) -> MeshTarget:
        """A target of rotations (N, 24, 3, 3) and betas (N, 10); vertices if they have a weight."""
        pose = pose_skeleton(self.body, rotations, betas)
        vertices = skin_vertices(self.body, pose) if self.weights["vertices"] else None
        return MeshTarget(rotations, betas, self.points(pose)[1], vertices)

    def full_camera(self, crop_camera: Tensor, view: View) -> FullCamera:
        """The networks' cameras (N, 3) as those of the whole images."""
        return self.camera(crop_camera, view, self.crop_size)

    def points(self, pose: Pose) -> tuple[Tensor, Tensor]:
        """The keypoints (N, K, 3) and the joints (N, J, 3) of a posed skeleton, metres."""
        points = self.body_points(pose)
        return points[:, : self._split], points[:, self._split :]

    @property
    def available(self) -> Tensor:
        """(K,) bool: which keypoints the body has."""
        return self.body_points.available[: self._split]

    @property
    def joints_available(self) -> Tensor:
        """(J,) bool: which joints the body has."""
        return self.body_points.available[self._split :]


class _LossInputs(NamedTuple):
    """What the losses of one evaluation read."""

    objective: Objective
    output: HeadOutput
    rotations: Tensor
    pose: Pose
    keypoints: Tensor
    joints: Tensor
    evidence: Evidence

    @property
    def target(self) -> MeshTarget:
        assert self.evidence.target is not None
        return self.evidence.target


def _keypoints_2d(inputs: _LossInputs) -> Tensor:
    objective, evidence = inputs.objective, inputs.evidence
    camera = objective.full_camera(inputs.output.camera, evidence.view)
    return losses.keypoints_2d_loss(
        project_to_crop(inputs.keypoints, camera, evidence.view, objective.crop_size),
        evidence.keypoints,
        evidence.confidence * objective.available,
        keypoint_count=objective.keypoint_count,
    )


def _joints_3d(inputs: _LossInputs) -> Tensor:
    return losses.joints_3d_loss(
        inputs.joints,
        inputs.target.joints,
        root=inputs.objective.root,
        available=inputs.objective.joints_available,
        confidence=inputs.target.joints_confidence,
    )


def _vertices(inputs: _LossInputs) -> Tensor:
    assert inputs.target.vertices is not None
    vertices = skin_vertices(inputs.objective.body, inputs.pose)
    return _where_annotated(inputs, losses.vertices_loss(vertices, inputs.target.vertices))


def _rotations(inputs: _LossInputs) -> Tensor:
    return _where_annotated(
        inputs, losses.rotations_loss(inputs.rotations, inputs.target.rotations)
    )


def _betas(inputs: _LossInputs) -> Tensor:
    loss = losses.betas_loss(inputs.output.betas, inputs.target.betas)
    annotated = inputs.target.betas_annotated
    return _where_annotated(
        inputs, loss if annotated is None else torch.where(annotated, loss, 0.0)
    )


def _where_annotated(inputs: _LossInputs, loss: Tensor) -> Tensor:
    annotated = inputs.target.annotated
    return loss if annotated is None else torch.where(annotated, loss, 0.0)


_LOSSES: dict[str, Callable[[_LossInputs], Tensor]] = {
    "keypoints_2d": _keypoints_2d,
    "joints_3d": _joints_3d,
    "vertices": _vertices,
    "rotations": _rotations,
    "betas": _betas,
    "camera": lambda inputs: losses.camera_loss(inputs.output.camera),
}


def own_objective(
    body: Body,
    own: str,
    *,
    camera: str,
    weights: LossWeights,
    keypoints: PointRegressor | None = None,
    crop_size: CropSize = CROP_SIZE,
) -> Objective:
    """The objective of networks trained with the keypoints called `own`, see `network_keypoints`.

    Evidence holds the points `keypoints`, by default those of `own`; see `compared_points` for them
    and for the 3D joints. Raises ValueError for an unknown name or camera convention, or a body
    without the vertices that `own` needs.
    """
    points = compared_points(body, own, keypoints)
    return Objective(
        body,
        keypoints=points.keypoints,
        keypoint_count=network_keypoints(own).count,
        camera=camera,
        weights=weights,
        joints=points.joints,
        root=points.root,
        crop_size=crop_size,
    )
