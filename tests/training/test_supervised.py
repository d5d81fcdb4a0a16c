import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from stick_figure import stick_figure
from torch import Tensor

from dualhmr.body import Body
from dualhmr.keypoints import BODY_23
from dualhmr.networks import MeshRegressor
from dualhmr.rotations import rot6d_to_rotmat, rotvec_to_rotmat
from dualhmr_training import supervised
from dualhmr_training.configuration import NetworkConfig, TrainingConfig
from dualhmr_training.supervised import (
    build_network,
    inputs_of,
    mean_pose_6d,
    nearest_rotation,
    train,
    training_objective,
)
from dualhmr_training.synthetic.people import PeopleSampler

SMALL = TrainingConfig(
    network=NetworkConfig(feature_count=32, blocks=1, hidden=32),
    steps=3,
    batch=16,
    warm_up_steps=5,
    seed=4,
)


@pytest.fixture(scope="module")
def body() -> Body:
    return stick_figure(dtype=torch.float32)


@pytest.fixture(scope="module")
def pool() -> Tensor:
    return 0.2 * torch.randn(30, 24, 3, generator=torch.Generator().manual_seed(3))


def weights(network: MeshRegressor) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in network.state_dict().values()])


def test_the_same_config_gives_the_same_weights(body: Body, pool: Tensor) -> None:
    first = train(body, pool, SMALL)
    torch.manual_seed(99)
    assert torch.equal(weights(train(body, pool, SMALL)), weights(first))
    assert not torch.equal(weights(train(body, pool, replace(SMALL, seed=5))), weights(first))
    assert not first.training


def test_the_seed_is_that_of_the_people_too(
    body: Body, pool: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Recorded(PeopleSampler):
        def __init__(self, *arguments: Any, seed: int) -> None:
            seen.append(seed)
            super().__init__(*arguments, seed=seed)

    monkeypatch.setattr(supervised, "PeopleSampler", Recorded)
    train(body, pool, replace(SMALL, steps=0, seed=17))
    assert seen == [17]


def test_reporting_changes_nothing_and_sees_every_step(body: Body, pool: Tensor) -> None:
    reports: list[tuple[int, float]] = []
    network = train(body, pool, SMALL, report=lambda step, loss, _: reports.append((step, loss)))
    assert [step for step, _ in reports] == [1, 2, 3]
    assert torch.equal(weights(network), weights(train(body, pool, SMALL)))


def test_training_lowers_the_loss(body: Body, pool: Tensor) -> None:
    losses: list[float] = []
    config = replace(SMALL, steps=30, batch=32)
    train(body, pool, config, report=lambda _, loss, __: losses.append(loss))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_learning_rate_warms_up_and_falls(
    body: Body, pool: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        original(self)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    config = replace(SMALL, steps=20, batch=2, learning_rate=1e-3, final_rate=1e-5)
    train(body, pool, config)
    assert rates[0] == pytest.approx(1e-3 / 5, rel=1e-3)
    peak = rates.index(max(rates))
    assert peak in (4, 5)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 1e-5 < rates[-1] < 3e-5


def test_the_mean_pose_is_rotations_upright_and_facing(pool: Tensor) -> None:
    mean = rot6d_to_rotmat(mean_pose_6d(pool).unflatten(0, (24, 6)))
    torch.testing.assert_close(mean @ mean.mT, torch.eye(3).expand(24, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(mean), torch.ones(24))
    assert torch.equal(mean[0], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    # Poses that vary little around zero have a mean near it, except where legs are bent to sit.
    angles = torch.arccos(((mean.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert angles[[3, 6, 9, 12, 15]].max() < 0.2


def test_the_nearest_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(40, 3, 3, generator=generator)
    assert (torch.linalg.det(matrices) < 0).any()
    nearest = nearest_rotation(matrices)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(40))
    torch.testing.assert_close(nearest_rotation(nearest), nearest)
    others = rotvec_to_rotmat(2 * torch.randn(3000, 3, generator=generator))
    distance = (matrices[:, None] - others).square().sum((2, 3)).amin(1)
    assert ((matrices - nearest).square().sum((1, 2)) < distance).all()


def test_the_mean_pose_is_the_networks_start_and_reproducible(pool: Tensor) -> None:
    network = build_network(SMALL.network, pool)
    assert torch.equal(network.head.init_pose[0], mean_pose_6d(pool))
    assert network.reads == ("keypoints", "box_info")


def test_networks_read_what_was_detected(body: Body, pool: Tensor) -> None:
    people = PeopleSampler(body, pool, SMALL.population, seed=0).sample(8)
    inputs = inputs_of(people)
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == {
        "keypoints": (8, 23, 3),
        "box_info": (8, 3),
    }
    seen = people.confidence > 0
    assert torch.equal(inputs["keypoints"][seen][:, :2], people.detected[seen])
    assert torch.equal(inputs["keypoints"][..., 2], people.confidence)
    assert not inputs["keypoints"][~seen].any()


def test_training_is_on_keypoints_and_skeleton(body: Body) -> None:
    objective = training_objective(body, SMALL)
    assert objective.keypoint_count == len(BODY_23)
    assert objective.available.all()
    target = objective.target(torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10))
    assert target.joints.shape == (1, 24 + 23, 3)
    assert target.vertices is None


def test_a_config_is_plain_values() -> None:
    plain = asdict(TrainingConfig())
    assert json.loads(json.dumps(plain)) == plain


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="batch_size"):
        TrainingConfig(batch_size=3)  # type: ignore[call-arg]
