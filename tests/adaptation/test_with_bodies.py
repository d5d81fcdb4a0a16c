"""The step and its loop on what they are for: a regressor head, an objective and a body."""

from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
import torch.utils._pytree as pytree
from helpers.stick_figure import stick_figure
from torch import Tensor

from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser, Parameters
from dualhmr.adaptation.schedule import named_schedule
from dualhmr.adaptation.step import LossFunction, adaptation_step
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import View
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput, RegressorHead
from dualhmr.objective.objective import Evidence, MeshTarget, Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotvec_to_rotmat

PEOPLE, FEATURES = 3, 6


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture(scope="module")
def objective() -> Objective:
    body = stick_figure()
    return Objective(
        body,
        keypoints=keypoint_regressor(body, COCO_17),
        keypoint_count=len(COCO_17),
        camera="cliff",
        weights=LossWeights(),
    )


@pytest.fixture(scope="module")
def head() -> RegressorHead:
    torch.manual_seed(0)
    head = RegressorHead(FEATURES, hidden=8, iterations=3, reads_box_info=False)
    for decoder in (head.decpose, head.decshape, head.deccam):
        torch.nn.init.zeros_(decoder.bias)  # like a trained head, not far off
    return head.double().eval()


@pytest.fixture(scope="module")
def features() -> Tensor:
    return normal(PEOPLE, FEATURES, seed=1).relu()


@pytest.fixture(scope="module")
def evidence(objective: Objective) -> Evidence:
    view = View(
        torch.tensor([[300.0, 220.0]]).double().repeat(PEOPLE, 1),
        torch.tensor([200.0, 250.0, 300.0]).double(),
        torch.full((PEOPLE,), 800.0).double(),
        torch.tensor([[320.0, 240.0]]).double().repeat(PEOPLE, 1),
    )
    rotations = rotvec_to_rotmat(0.3 * normal(PEOPLE, 24, 3, seed=2))
    target = objective.target(rotations, normal(PEOPLE, 10, seed=3))
    keypoints = 0.4 * normal(PEOPLE, len(COCO_17), 2, seed=4)
    return Evidence(keypoints, torch.ones(PEOPLE, len(COCO_17)).double(), view, target)


def of_person(evidence: Evidence, i: int) -> Evidence:
    assert evidence.target is not None
    return Evidence(
        evidence.keypoints[i],
        evidence.confidence[i],
        View(*(part[i] for part in evidence.view)),
        MeshTarget(*(None if part is None else part[i] for part in evidence.target)),
    )


def loss_function(
    head: RegressorHead, objective: Objective, features: Tensor, evidence: Evidence
) -> LossFunction:
    """Of one person, whose tensors have no person axis: as under `torch.func.vmap`."""
    assert evidence.target is not None
    batch = Evidence(
        evidence.keypoints[None],
        evidence.confidence[None],
        View(*(part[None] for part in evidence.view)),
        MeshTarget(*(None if part is None else part[None] for part in evidence.target)),
    )

    def losses(
        parameters: Parameters, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], HeadOutput]:
        output = torch.func.functional_call(head, parameters, (features[None],))
        values = objective.losses(output, batch, names)
        return {name: value[0] for name, value in values.items()}, output

    return losses


def parameters_of(head: RegressorHead) -> Parameters:
    return {name: parameter.detach() for name, parameter in head.named_parameters()}


@pytest.mark.parametrize("name", ["paper", "trained", "release", "eft"])
def test_adapting_lowers_the_loss(
    head: RegressorHead, objective: Objective, features: Tensor, evidence: Evidence, name: str
) -> None:
    schedule = named_schedule(name, adam_rate=1e-3, descent_rate=1e-3)
    function = loss_function(head, objective, features[0], of_person(evidence, 0))
    schedule = replace(schedule, iterate="best")
    result = adapt(dict(head.named_parameters()), function, schedule)
    assert result.loss_history[result.best_step] < 0.9 * result.loss_history[0]
    assert all(isinstance(output, HeadOutput) for output in result.outputs)
    losses, output = function(result.parameters, schedule.watched.losses)
    achieved = schedule.watched.scale * float(sum(losses.values()))
    assert achieved == pytest.approx(min(result.loss_history), rel=1e-9)
    kept = result.outputs[result.best_step]
    assert isinstance(kept, HeadOutput)
    assert isinstance(output, HeadOutput)
    torch.testing.assert_close(kept.camera, output.camera.detach())


@pytest.mark.parametrize("optimiser", [GradientDescent(1e-3), Adam(1e-3)])
def test_a_person_is_adapted_alone(
    head: RegressorHead,
    objective: Objective,
    features: Tensor,
    evidence: Evidence,
    optimiser: Optimiser,
) -> None:
    start = parameters_of(head)

    def adapted(feature: Tensor, known: Evidence) -> tuple[Parameters, dict[str, Tensor]]:
        function = loss_function(head, objective, feature, known)
        parameters, state = start, optimiser.start(start)
        for _ in range(2):
            step = adaptation_step(parameters, function, optimiser, state)
            parameters, state = step.parameters, step.state
        return parameters, step.losses

    axes = pytree.tree_map(lambda leaf: None if leaf is None else 0, evidence)
    together, losses = torch.func.vmap(adapted, in_dims=(0, axes))(features, evidence)
    for i in range(PEOPLE):
        alone, own_losses = adapted(features[i], of_person(evidence, i))
        one = {name: tensor[i] for name, tensor in together.items()}
        torch.testing.assert_close(one, alone, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close({k: v[i] for k, v in losses.items()}, own_losses)


@pytest.mark.parametrize("keep_graph", [False, True])
def test_the_outer_loss_trains_the_start(
    head: RegressorHead,
    objective: Objective,
    features: Tensor,
    evidence: Evidence,
    keep_graph: bool,
) -> None:
    """Eq. 6-7: the loss after a step, differentiated with respect to the parameters before it."""
    optimiser = GradientDescent(1e-2)
    function = loss_function(head, objective, features[0], of_person(evidence, 0))
    names = ("decpose.bias", "deccam.bias", "fc2.bias")
    leaves = {name: parameters_of(head)[name].clone().requires_grad_() for name in names}

    def outer(shift: Tensor) -> Tensor:
        parameters = parameters_of(head)
        parameters |= {name: leaf + shift * (leaf + 1) for name, leaf in leaves.items()}
        step = adaptation_step(
            parameters, function, optimiser, optimiser.start(parameters), keep_graph=keep_graph
        )
        losses, _ = function(step.parameters, None)
        return torch.stack(list(losses.values())).sum()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(outer(zero), zero)
    step = 1e-6
    with torch.no_grad():
        plus, minus = (outer(torch.tensor(x).double()) for x in (step, -step))
    numerical = (plus - minus) / (2 * step)
    if keep_graph:
        torch.testing.assert_close(slope, numerical, rtol=1e-6, atol=0)
    else:
        assert slope != 0
        assert abs(slope - numerical) > 1e-4 * abs(numerical)
