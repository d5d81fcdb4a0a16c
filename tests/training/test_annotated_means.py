"""Training's losses where not everybody is annotated, against the release's formulas in NumPy."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from helpers.inner_steps import normal, outer_loss
from numpy.typing import NDArray
from torch import Tensor

from dualhmr import load_body
from dualhmr.body.arrays import EXTRA_JOINT_NAMES
from dualhmr.body.model import Body, pose_skeleton, skin_vertices
from dualhmr.camera import View
from dualhmr.keypoints import BODY_25, SPIN_49
from dualhmr.networks import HeadOutput, MeshRegressor, RegressorHead
from dualhmr.networks.backbones import Backbone
from dualhmr.objective.objective import Evidence, MeshTarget, Objective, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.averages import annotated_means
from dualhmr_training.batches import Batch, some_of
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.dual import DualNetworks

PEOPLE = 6
HAS_MESH = np.array([1, 0, 1, 1, 0, 0]) == 1
HAS_JOINTS = np.array([1, 1, 0, 0, 1, 0]) == 1
NETWORKS = {"hmr_resnet": ("hmr", 9), "cliff_resnet": ("cliff", 9), "cliff_hrnet": ("cliff", 7)}
"""The camera, and the features: a few for the 2048 of ResNet-50 and the 720 of HRNet-W48."""
Array = NDArray[np.float64]


class Features(Backbone):
    """Reads its features."""

    reads = ("features",)

    def __init__(self, count: int) -> None:
        super().__init__()
        self.feature_count = count
        self.scale = torch.nn.Parameter(torch.ones(count))

    def forward(self, features: Tensor) -> Tensor:
        return features * self.scale


@lru_cache(maxsize=1)
def free_body() -> Body:
    """With extra joints, somewhere, so that it has all 24 that data sets annotate."""
    rng = np.random.default_rng(0)
    rows = rng.random((len(EXTRA_JOINT_NAMES), load_body().vertex_count), np.float32)
    return load_body(extra_joints=rows / rows.sum(1, keepdims=True)).to(dtype=torch.float64)


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[Objective, MeshRegressor, Batch]:
    camera, features = NETWORKS[request.param]
    objective = own_objective(free_body(), SPIN_49, camera=camera, weights=LossWeights())
    torch.manual_seed(1)
    head = RegressorHead(
        features, hidden=8, iterations=2, reads_box_info=camera == "cliff", dropout=0.0
    )
    return objective, MeshRegressor(Features(features), head).double(), make_batch(objective, head)


def make_batch(objective: Objective, head: RegressorHead) -> Batch:
    view = View(
        200 + 20 * normal(PEOPLE, 2, seed=1),
        250 + 30 * normal(PEOPLE, seed=2),
        700 + 30 * normal(PEOPLE, seed=3),
        210 + 5 * normal(PEOPLE, 2, seed=4),
    )
    confidence = normal(PEOPLE, 49, seed=5).abs()
    confidence[:, : len(BODY_25)] = 0
    evidence = Evidence(0.5 * normal(PEOPLE, 49, 2, seed=6), confidence, view, None)
    target = objective.target(
        rotvec_to_rotmat(0.3 * normal(PEOPLE, 24, 3, seed=7)), normal(PEOPLE, 10, seed=8)
    )._replace(
        joints=normal(PEOPLE, 24, 3, seed=9),
        joints_confidence=normal(PEOPLE, 24, seed=10).abs() * torch.tensor(HAS_JOINTS)[:, None],
        annotated=torch.tensor(HAS_MESH),
    )
    features = head.fc1.in_features - 157 - 3 * head.reads_box_info
    inputs = {
        "features": normal(PEOPLE, features, seed=11),
        "box_info": normal(PEOPLE, 3, seed=12),
    }
    return Batch(inputs, evidence, evidence._replace(target=target))


def restated(objective: Objective, output: HeadOutput, truth: Evidence) -> dict[str, float]:
    """The release's weighted losses from the bodies of an output; people are picked, not masked."""
    target = truth.target
    assert target is not None
    assert target.vertices is not None
    assert target.joints_confidence is not None
    pose = pose_skeleton(objective.body, output.rotations, output.betas)
    seen, joints = (part.numpy() for part in objective.points(pose))
    scale, x, y = output.camera.numpy().T
    center, height, focal, principal = (part.numpy() for part in truth.view)
    if objective.camera.__name__ == "hmr_camera":
        place = np.stack([x, y, 2 * 5000 / (256 * scale + 1e-9)], 1)[:, None] + seen
        projected = 5000 * place[..., :2] / place[..., 2:] / [96, 128]
    else:
        bs = (height * scale + 1e-9)[:, None]
        offset = np.stack([x, y], 1) + 2 * (center - principal) / bs
        place = np.concatenate([offset, 2 * focal[:, None] / bs], 1)[:, None] + seen
        pixels = focal[:, None, None] * place[..., :2] / place[..., 2:] + principal[:, None]
        half = np.stack([height * 0.75, height], 1)[:, None] / 2
        projected = (pixels - center[:, None]) / half
    confidence = truth.confidence.numpy()[..., None]

    def centred(points: Array) -> Array:
        return points - (points[:, 2:3] + points[:, 3:4]) / 2

    near = centred(joints[HAS_JOINTS]) - centred(target.joints.numpy()[HAS_JOINTS])
    weight = target.joints_confidence.numpy()[HAS_JOINTS][..., None]
    vertices = skin_vertices(objective.body, pose).numpy()[HAS_MESH]
    rotations, betas = output.rotations.numpy()[HAS_MESH], output.betas.numpy()[HAS_MESH]
    return {
        "keypoints_2d": 5 * (confidence * (projected - truth.keypoints.numpy()) ** 2).mean(),
        "joints_3d": 5 * (weight * near**2).mean(),
        "vertices": 0.5 * np.abs(vertices - target.vertices.numpy()[HAS_MESH]).mean(),
        "rotations": ((rotations - target.rotations.numpy()[HAS_MESH]) ** 2).mean(),
        "betas": 0.001 * ((betas - target.betas.numpy()[HAS_MESH]) ** 2).mean(),
        "camera": (np.exp(-10 * scale) ** 2).mean(),
    }


Case = tuple[Objective, MeshRegressor, Batch]


def test_outer_losses(case: Case) -> None:
    objective, network, batch = case
    networks = DualNetworks(network, network, objective, InnerLoop(steps=0))
    with torch.no_grad():
        losses = networks(batch)
        expected = restated(objective, network(batch.inputs), batch.truth)
    assert losses.keys() == {
        f"{role}/{name}" for role in ("main", "auxiliary") for name in expected
    }
    for name, value in losses.items():
        assert value.item() == pytest.approx(expected[name.split("/")[1]], rel=1e-10)


def test_with_half_of_the_meshes_the_terms_are_those_of_that_half(case: Case) -> None:
    objective, network, batch = case
    networks = DualNetworks(network, None, objective, InnerLoop(steps=0))
    half = some_of(batch, torch.tensor(HAS_MESH))
    with torch.no_grad():
        of_all, of_half = networks(batch), networks(half)
    for name in ("main/vertices", "main/rotations", "main/betas"):
        torch.testing.assert_close(of_all[name], of_half[name])


def test_nobody_annotated_is_zero_without_a_gradient(case: Case) -> None:
    objective, network, batch = case
    nobody = some_of(batch, torch.tensor(~(HAS_MESH | HAS_JOINTS)))
    losses = DualNetworks(network, None, objective, InnerLoop(steps=0))(nobody)
    for name in ("joints_3d", "vertices", "rotations", "betas"):
        assert losses[f"main/{name}"].item() == 0
        gradients = torch.autograd.grad(
            losses[f"main/{name}"], network.parameters(), retain_graph=True, allow_unused=True
        )
        assert not any(each is not None and each.any() for each in gradients)


def test_betas_of_another_body_do_not_count() -> None:
    loss = {name: torch.tensor([1.0, 2.0, 6.0]) for name in ("betas", "vertices", "camera")}
    target = MeshTarget(
        *[torch.zeros(3)] * 4,
        annotated=torch.tensor([True, True, False]),
        betas_annotated=torch.tensor([False, True, True]),
    )
    means = {name: mean.item() for name, mean in annotated_means(loss, target).items()}
    assert means == {"betas": 2.0, "vertices": 1.5, "camera": 3.0}
    for everybody in (None, target._replace(annotated=None, betas_annotated=None)):
        assert all(mean == 3 for mean in annotated_means(loss, everybody).values())


def inner(**options: object) -> InnerLoop:
    return InnerLoop(learning_rate=2e-4, **options)  # type: ignore[arg-type]


def test_the_release_s_inner_step_by_hand(case: Case) -> None:
    """Pseudo terms over those with a mesh, 2D and camera over all; a plain step on the head."""
    objective, network, batch = case
    auxiliary = MeshRegressor(network.backbone, perturbed(network.head))
    options = inner(weights_per="batch", pseudo_loss="release")
    networks = DualNetworks(network, auxiliary, objective, options)
    losses = networks(batch)
    with torch.no_grad():
        guess = auxiliary(batch.inputs)
        pseudo = objective.target(guess.rotations, guess.betas)
    evidence = batch.evidence._replace(target=pseudo)
    output = network(batch.inputs)
    of_all = objective.losses(output, evidence, ("keypoints_2d", "camera"))
    picked = torch.tensor(HAS_MESH)
    of_some = objective.losses(
        HeadOutput(*(part[picked] for part in output)),
        some_of(evidence, picked),
        ("joints_3d", "vertices", "rotations", "betas"),
    )
    total = sum((each.mean() for each in (*of_all.values(), *of_some.values())), torch.zeros(()))
    stepped = {
        name: parameter - 2e-4 * gradient
        for (name, parameter), gradient in zip(
            network.head.named_parameters(),
            torch.autograd.grad(total, list(network.head.parameters())),
            strict=True,
        )
    }
    read = {"features": network.encode(batch.inputs)}
    if network.head.reads_box_info:
        read["box_info"] = batch.inputs["box_info"]
    adapted = torch.func.functional_call(network.head, stepped, (), read)
    with torch.no_grad():
        expected = restated(objective, HeadOutput(*(p.detach() for p in adapted)), batch.truth)
    for name, value in expected.items():
        assert losses[f"main/{name}"].item() == pytest.approx(value, rel=1e-8)
    plain = DualNetworks(network, auxiliary, objective, replace(options, pseudo_loss="all"))
    assert plain(batch)["main/keypoints_2d"].item() != pytest.approx(
        losses["main/keypoints_2d"].item(), rel=1e-8
    )


def perturbed(head: RegressorHead) -> RegressorHead:
    other = RegressorHead(
        head.fc1.in_features - 157 - 3 * head.reads_box_info,
        hidden=8,
        iterations=1,
        reads_box_info=head.reads_box_info,
        dropout=0.0,
    )
    return other.double()


@pytest.mark.parametrize("second_order", [False, True])
def test_weights_of_one_s_own(case: Case, second_order: bool) -> None:
    """Who has a mesh adapts as without the option, who has none on 2D and the camera alone."""
    objective, network, batch = case
    auxiliary = MeshRegressor(network.backbone, perturbed(network.head))

    def outputs(options: InnerLoop) -> HeadOutput:
        made = DualNetworks(network, auxiliary, objective, options)
        return made._outputs(batch, options)[0]

    masked = outputs(inner(pseudo_loss="release", second_order=second_order))
    everybody = outputs(inner(second_order=second_order))
    alone = outputs(inner(losses=("keypoints_2d", "camera"), second_order=second_order))
    has = torch.tensor(HAS_MESH)
    for part, of_all, without in zip(masked, everybody, alone, strict=True):
        torch.testing.assert_close(part[has], of_all[has], rtol=0, atol=1e-10)
        torch.testing.assert_close(part[~has], without[~has], rtol=0, atol=1e-10)
        assert not torch.allclose(of_all[~has], without[~has], rtol=0, atol=1e-8)
    assert torch.isfinite(torch.autograd.grad(outer_loss(masked), network.head.fc1.weight)[0]).all()


def test_people_are_validated_with_their_pseudo_meshes(case: Case) -> None:
    objective, network, batch = case
    auxiliary = MeshRegressor(network.backbone, perturbed(network.head))
    adapted = [
        DualNetworks(network, auxiliary, objective, inner(pseudo_loss=choice)).adapted(batch)
        for choice in ("all", "release")
    ]
    for one, other in zip(*adapted, strict=True):
        assert torch.equal(one, other)


def test_an_unknown_choice() -> None:
    with pytest.raises(ValueError, match="pseudo_loss 'some'; known are all, release"):
        InnerLoop(pseudo_loss="some")
