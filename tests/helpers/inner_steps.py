"""A few people with evidence, and networks small enough to adapt to them in double precision."""

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import View
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput, KeypointTrunk, MeshRegressor, RegressorHead
from dualhmr.networks.backbones import Backbone
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotvec_to_rotmat
from helpers.stick_figure import stick_figure

PEOPLE = 3
RATE = 0.005


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def small_objective() -> Objective:
    body = stick_figure()
    return Objective(
        body,
        keypoints=keypoint_regressor(body, COCO_17),
        keypoint_count=len(COCO_17),
        camera="cliff",
        weights=LossWeights(),
    )


def small_network(backbone: Backbone | None = None, *, reads_box_info: bool) -> MeshRegressor:
    """With a `KeypointTrunk` unless another backbone of six features is given."""
    torch.manual_seed(0)
    trunk = backbone or KeypointTrunk(keypoint_count=len(COCO_17), feature_count=6, blocks=1)
    head = RegressorHead(6, hidden=5, iterations=3, reads_box_info=reads_box_info, dropout=0.0)
    for decoder in (head.decpose, head.decshape, head.deccam):
        torch.nn.init.zeros_(decoder.bias)  # like a trained head, not far off
    return MeshRegressor(trunk, head).double()


def small_inputs() -> dict[str, Tensor]:
    keypoints = normal(PEOPLE, len(COCO_17), 3, seed=1)
    keypoints[..., 2] = keypoints[..., 2].abs()
    return {"keypoints": keypoints, "box_info": normal(PEOPLE, 3, seed=2)}


def small_evidence(objective: Objective) -> Evidence:
    view = View(
        torch.tensor([[300.0, 220.0]]).double().repeat(PEOPLE, 1),
        torch.tensor([200.0, 250.0, 300.0]).double(),
        torch.full((PEOPLE,), 800.0).double(),
        torch.tensor([[320.0, 240.0]]).double().repeat(PEOPLE, 1),
    )
    rotations = rotvec_to_rotmat(0.3 * normal(PEOPLE, 24, 3, seed=3))
    target = objective.target(rotations, normal(PEOPLE, 10, seed=4))
    keypoints = 0.4 * normal(PEOPLE, len(COCO_17), 2, seed=5)
    return Evidence(keypoints, torch.ones(PEOPLE, len(COCO_17)).double(), view, target)


def of_person(evidence: Evidence, person: int) -> Evidence:
    part: Evidence = pytree.tree_map(
        lambda leaf: None if leaf is None else leaf[person : person + 1], evidence
    )
    return part


def outer_loss(output: HeadOutput) -> Tensor:
    return sum((part.square().sum() for part in output), torch.zeros(()).double())


def outer_gradients(network: MeshRegressor, output: HeadOutput) -> tuple[Tensor, ...]:
    return torch.autograd.grad(outer_loss(output), list(network.parameters()))


def assert_close(output: HeadOutput, other: HeadOutput, tolerance: float = 1e-12) -> None:
    for part, of_other in zip(output, other, strict=True):
        torch.testing.assert_close(part, of_other, atol=tolerance, rtol=0)


def assert_same_steps(network: MeshRegressor, output: HeadOutput, other: HeadOutput) -> None:
    """That two ways of adapting agree: in what comes out, and in the outer problem's gradients."""
    assert_close(output, other)
    for gradient, of_other in zip(
        outer_gradients(network, output), outer_gradients(network, other), strict=True
    ):
        torch.testing.assert_close(gradient, of_other, atol=1e-10, rtol=1e-9)
