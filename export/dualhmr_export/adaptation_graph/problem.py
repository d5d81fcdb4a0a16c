"""What a graph adapts, and to what: a head, an objective, a schedule."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dualhmr.adaptation import Schedule
from dualhmr.adaptation.structured import AffineHead
from dualhmr.adaptation.structured.look import Problem
from dualhmr.body import Body, keypoint_regressor, pose_skeleton
from dualhmr.camera import View
from dualhmr.keypoints import KEYPOINT_SETS, KeypointSet
from dualhmr.loss_weights import LossWeights
from dualhmr.manifest import Manifest
from dualhmr.networks import RegressorHead
from dualhmr.objective import WITHOUT_TARGET, Evidence, MeshTarget, Objective
from dualhmr.objective_gradient import ObjectiveGradient
from dualhmr.objective_gradient.vertices import Vertices
from dualhmr.own_objective import own_objective
from dualhmr_export.adaptation_graph.arithmetic import GraphArithmetic
from dualhmr_export.adaptation_graph.spread import SpreadGiven

Inputs = dict[str, Tensor]
"""One person's, by the names that the graph has for them."""


@dataclass(frozen=True)
class GraphProblem:
    """One network's adaptation by one schedule, for a person who is known at run time only."""

    head: AffineHead
    reads_box_info: bool
    objective: Objective
    """Its keypoints are all the named ones that the body has."""
    schedule: Schedule

    @staticmethod
    def of(
        head: RegressorHead, manifest: Manifest, body: Body, schedule: Schedule
    ) -> "GraphProblem":
        """That of a bundle's main network.

        Raises ValueError for a body whose keypoints are not known.
        """
        start = torch.cat([head.init_pose, head.init_shape, head.init_cam], dim=1)
        affine = AffineHead.from_parameters(
            dict(head.named_parameters()), start=start, iterations=head.iterations
        )
        objective = own_objective(
            body,
            manifest.keypoint_set,
            camera=manifest.camera,
            weights=manifest.weights,
            keypoints=keypoint_regressor(body, named_points(body)),
        )
        return GraphProblem(affine, head.reads_box_info, objective, schedule)

    @property
    def keypoints(self) -> tuple[str, ...]:
        """The graph's own list of keypoints."""
        count = len(self.objective.available)
        return self.objective.body_points.names[:count]

    @property
    def reads_target(self) -> bool:
        """Whether a loss of the schedule is against a mesh."""
        weighted = {name for name, weight in self.objective.weights.items() if weight}
        wanted = [phase.losses for phase in self.schedule.phases]
        counted = set().union(*(weighted if names is None else names for names in wanted))
        return not WITHOUT_TARGET.issuperset(counted & weighted)

    @cached_property
    def example(self) -> Inputs:
        """Any person, to trace with."""
        points, boxes = len(self.keypoints), 3 * self.reads_box_info
        inputs = {"features": torch.rand(1, self.head.given_count - boxes)}
        if self.reads_box_info:
            inputs["box_info"] = torch.rand(1, 3)
        inputs |= {
            "keypoints": torch.rand(1, points, 2),
            "confidence": torch.rand(1, points),
            "box_center": torch.full((1, 2), 100.0),
            "box_height": torch.full((1,), 200.0),
            "focal_length": torch.full((1,), 300.0),
            "principal_point": torch.full((1, 2), 110.0),
        }
        if self.reads_target:
            inputs["rotations"] = torch.eye(3).repeat(1, 24, 1, 1)
            inputs["betas"] = torch.zeros(1, self.objective.body.beta_count)
        return inputs

    def about(self, inputs: Inputs) -> Problem:
        """The structured problem of one person."""
        given = [inputs[name] for name in ("features", "box_info") if name in inputs]
        return Problem(
            self.head,
            SpreadGiven(torch.cat(given, dim=1)),
            self._gradient.about(self._evidence(inputs)),
            self.schedule.watched_losses,
            GraphArithmetic(),
        )

    def view(self, inputs: Inputs) -> View:
        """How the person is seen."""
        return View(*(inputs[name] for name in View._fields))

    @cached_property
    def _gradient(self) -> ObjectiveGradient:
        return ObjectiveGradient(self.objective, self._evidence(self.example))

    @cached_property
    def _vertices(self) -> Vertices:
        return Vertices(self.objective.body)

    def _evidence(self, inputs: Inputs) -> Evidence:
        target = self._target(inputs) if self.reads_target else None
        keypoints, confidence = inputs["keypoints"], inputs["confidence"]
        return Evidence(keypoints, confidence, self.view(inputs), target)

    def _target(self, inputs: Inputs) -> MeshTarget:
        weights, body = self.objective.weights, self.objective.body
        rotations, betas = inputs["rotations"], inputs["betas"]
        without = self.objective.weighted(LossWeights(**weights | {"vertices": 0.0}))
        target = without.target(rotations, betas)
        if not weights["vertices"]:
            return target
        # As the gradient has them: in another layout the body's largest array would be there twice.
        pose = pose_skeleton(body, rotations, betas)
        vertices = self._vertices.forward(pose.transforms, pose.blend).vertices
        return target._replace(vertices=vertices.mT)


def named_points(body: Body) -> KeypointSet:
    """Every keypoint of a known set that `body` has, once."""
    names = dict.fromkeys(name for known in KEYPOINT_SETS.values() for name in known.names)
    everything = KeypointSet("named", tuple(names))
    available = keypoint_regressor(body, everything).available.tolist()
    there = [name for name, has in zip(everything.names, available, strict=True) if has]
    return replace(everything, names=tuple(there))
