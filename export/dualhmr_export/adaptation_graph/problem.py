"""The problem that a graph solves: one network, one schedule, and any person."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head import AffineHead
from dualhmr.adaptation.fast_head.head_step import Problem
from dualhmr.adaptation.fast_head.rank_one_output import GridQuadratureInput
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.bundle import Manifest
from dualhmr.camera import View
from dualhmr.crop import crop_convention
from dualhmr.keypoints import KeypointSet, known_names
from dualhmr.networks import RegressorHead, affine_head
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.points import Vertices
from dualhmr.objective.objective import (
    WITHOUT_TARGET,
    Evidence,
    MeshTarget,
    Objective,
    own_objective,
)
from dualhmr.objective.weights import LossWeights
from dualhmr_export.adaptation_graph.graph_arithmetic import GraphArithmetic

Inputs = dict[str, Tensor]
"""One person's inputs, by the graph's names for them."""


@dataclass(frozen=True)
class GraphProblem:
    """One network's adaptation by one schedule; the person is an input of the graph."""

    head: AffineHead
    reads_box_info: bool
    objective: Objective
    """Its keypoints are `named_points` of the body."""
    schedule: Schedule

    @staticmethod
    def of(
        head: RegressorHead, manifest: Manifest, body: Body, schedule: Schedule
    ) -> "GraphProblem":
        """That of a bundle's main network.

        Raises ValueError for a body without a definition of its keypoints.
        """
        objective = own_objective(
            body,
            manifest.keypoint_set,
            camera=manifest.camera,
            weights=manifest.weights,
            keypoints=keypoint_regressor(body, named_points(body)),
            crop_size=crop_convention(manifest.crop).size,
        )
        return GraphProblem(affine_head(head), head.reads_box_info, objective, schedule)

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names of the graph's keypoints, in order."""
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
        """Inputs of any person, to trace with."""
        points, boxes = len(self.keypoints), 3 * self.reads_box_info
        inputs = {"features": torch.rand(1, self.head.input_count - boxes)}
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

    def for_person(self, inputs: Inputs) -> Problem:
        """The fast step's problem for one person."""
        head_input = [inputs[name] for name in ("features", "box_info") if name in inputs]
        return Problem(
            self.head,
            GridQuadratureInput(torch.cat(head_input, dim=1)),
            self._gradient.with_evidence(self._evidence(inputs)),
            self.schedule,
            GraphArithmetic(),
        )

    def view(self, inputs: Inputs) -> View:
        """The person's box and camera."""
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
        # By the gradient's own `Vertices`: `Objective` has the body's largest array in another
        # layout, and the graph would hold both.
        pose = pose_skeleton(body, rotations, betas)
        vertices = self._vertices.forward(pose.transforms, pose.blend).vertices
        return target._replace(vertices=vertices.mT)


def named_points(body: Body) -> KeypointSet:
    """Every keypoint of a named set that `body` has, once."""
    every = KeypointSet("named", known_names())
    available = keypoint_regressor(body, every).available.tolist()
    return replace(every, names=tuple(compress(every.names, available)))
