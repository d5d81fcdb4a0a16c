"""The measure of `structured.input_nodes` on nodes that a graph can find: a grid.

There the nodes are eigenvalues, for which ONNX has no operator. Here they are evenly spaced in
log x. What is to be summed over the inputs x_j = |c_j| is

    F(s) = sum_j x_j^(3/2) f(log x_j),    f(u) = e^(u/2) / (e^u s + floor),

and f, a hyperbolic secant of u wherever its peak may be, is analytic as far as pi away from the
real axis: so it is interpolated from a grid of step h up to about exp(-pi^2 / h), here by sincs
under a Gaussian. Each input thus lends its mass to the nodes near it.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head import AffineHead
from dualhmr.adaptation.fast_head.affine_head import (
    DECODE,
    DECODE_BIAS,
    FIRST,
    SECOND,
    SECOND_BIAS,
    Matrices,
)
from dualhmr.adaptation.fast_head.arithmetic import (
    ActivationGradients,
    Activations,
    AdamCoefficients,
    Moments,
    Outer,
    TorchArithmetic,
)
from dualhmr.adaptation.fast_head.head_step import HeadInput, Problem
from dualhmr.adaptation.fast_head.rank_one_output import Nodes
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.points import keypoint_regressor
from dualhmr.bundle import Manifest
from dualhmr.camera import View
from dualhmr.keypoints import KEYPOINT_SETS, KeypointSet
from dualhmr.networks import RegressorHead
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

_STEP = 0.5
_REACH = 10
"""Nodes on either side that an input lends mass to; with the step, right to 2e-7."""
_WIDTH = 1.5 * _REACH / math.pi
"""The square of the Gaussian's standard deviation, in squared steps."""
_SMALLEST = 1e-8
"""Relative to the largest input; smaller ones hardly count."""


class GridQuadratureInput(HeadInput):
    """What a head is given, its nodes on a grid."""

    @cached_property
    def nodes(self) -> Nodes:
        """What Adam needs to know of it."""
        return grid_quadrature(self.values)


def grid_quadrature(given: Tensor) -> Nodes:
    """Those of inputs `given` (N, 1, G), finite, of which not all may be zero."""
    inputs = given.squeeze(1).abs()
    largest = inputs.amax(-1, keepdim=True)
    relative = inputs / largest
    lowest = math.floor(math.log(_SMALLEST) / _STEP) - _REACH
    grid = torch.arange(lowest, _REACH + 1, dtype=given.dtype, device=given.device)
    # What is far below the grid lends nothing, whatever its logarithm.
    place = relative.clamp_min(_SMALLEST**3).log() / _STEP
    away = place[..., None] - grid
    lent = torch.sinc(away) * torch.exp(away.square() * (-0.5 / _WIDTH))
    points = torch.exp(grid * _STEP)
    masses = ((relative * relative.sqrt())[:, None] @ lent) * points.sqrt()
    return Nodes((largest * points)[:, None], masses * largest[..., None].square())


# A head's rounds and Adam for one person, in the matrix products that ONNX has.
#
# ONNX's Gemm takes matrices, not batches of them, transposes what it is given as it goes, and
# scales and adds on the way: a round is three of them, and a moving mean of gradients is one.


class GraphArithmetic(TorchArithmetic):
    """Equal to `TorchArithmetic` but for rounding; all tensors are (1, rows, columns)."""

    def go_forward(
        self, matrices: Matrices, constant: Tensor, start: Tensor, iterations: int
    ) -> Activations:
        """See `rounds.go_forward`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        estimate, constant = start[None], constant.squeeze(0)
        estimates, firsts, seconds = [estimate], [], []
        for _ in range(iterations):
            first = torch.addmm(constant, estimate, own[FIRST])
            second = torch.addmm(own[SECOND_BIAS], first, own[SECOND].T)
            estimate = torch.addmm(estimate + own[DECODE_BIAS], second, own[DECODE].T)
            estimates.append(estimate)
            firsts.append(first)
            seconds.append(second)
        return Activations(*(torch.cat(rows)[None] for rows in (estimates, firsts, seconds)))

    def go_backward(
        self, matrices: Matrices, gradient: Tensor, iterations: int
    ) -> ActivationGradients:
        """See `rounds.go_backward`."""
        own = {name: matrix.squeeze(0) for name, matrix in matrices.items()}
        slope = gradient
        estimates, firsts, seconds = [], [], []
        for _ in range(iterations):
            second = slope @ own[DECODE]
            first = second @ own[SECOND]
            estimates.append(slope)
            firsts.append(first)
            seconds.append(second)
            slope = torch.addmm(slope, first, own[FIRST].T)
        return ActivationGradients(
            *(torch.cat(rows[::-1])[None] for rows in (estimates, firsts, seconds))
        )

    def adam(
        self, matrix: Tensor, moments: Moments, gradient: Outer, pace: AdamCoefficients
    ) -> tuple[Tensor, Moments]:
        """Matrix and moments after an update.

        The second moment's share of the gradient is scaled before it is spread out, as vectors. It
        has no floor of its own: beside epsilon in the sum it would not count.
        """
        left, right = gradient.left.squeeze(0).T, gradient.right.squeeze(0)
        first = torch.addmm(
            moments.first.squeeze(0), left, right, beta=pace.beta1, alpha=1 - pace.beta1
        )
        share = (math.sqrt(1 - pace.beta2) * left) @ right
        second = pace.beta2 * moments.second.squeeze(0) + share * share
        root = second.sqrt() + pace.floor
        value = matrix.squeeze(0) - pace.rate * first / root
        return value[None], Moments(first[None], second[None])


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
            GridQuadratureInput(torch.cat(given, dim=1)),
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
