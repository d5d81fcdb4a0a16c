from dataclasses import replace

import pytest
import torch
from helpers.tiny_training import TINY, flat, make_poses, small_body
from torch import Tensor

from dualhmr.rotations import rot6d_to_rotmat, rotvec_to_rotmat
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import (
    initial_networks,
    mean_pose_6d,
    nearest_rotation,
    upright_pose_6d,
)
from dualhmr_training.presets import image_network, keypoint_network
from dualhmr_training.synthetic_training import synthetic_objective

FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def pool() -> Tensor:
    return make_poses().rotvecs


def networks_of(config: TrainingConfig, mean_pose: Tensor) -> DualNetworks:
    objective = synthetic_objective(small_body(), config.weights)
    return initial_networks(config, objective, mean_pose=mean_pose)


def test_the_mean_pose_is_rotations_upright_and_facing(pool: Tensor) -> None:
    mean = rot6d_to_rotmat(mean_pose_6d(pool).unflatten(0, (24, 6)))
    torch.testing.assert_close(mean @ mean.mT, torch.eye(3).expand(24, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(mean), torch.ones(24))
    assert torch.equal(mean[0], FACING)
    # Poses that vary little around zero have a mean near it, except where legs are bent to sit.
    angles = torch.arccos(((mean.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert angles[[3, 6, 9, 12, 15]].max() < 0.2


def test_the_upright_pose_is_at_rest_and_facing() -> None:
    pose = rot6d_to_rotmat(upright_pose_6d().unflatten(0, (24, 6)))
    assert torch.equal(pose[0], FACING)
    assert torch.equal(pose[1:], torch.eye(3).expand(23, 3, 3))


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


def test_heads_start_from_the_mean_pose_and_drop_out_as_told(pool: Tensor) -> None:
    mean_pose = mean_pose_6d(pool)
    networks = networks_of(replace(TINY, dropout=0.3), mean_pose)
    assert networks.auxiliary is not None
    for network in (networks.main, networks.auxiliary):
        assert torch.equal(network.head.init_pose[0], mean_pose)
        assert (network.head.drop1.p, network.head.drop2.p) == (0.3, 0.3)
        assert network.reads == ("keypoints", "box_info")


def test_the_same_configuration_gives_the_same_networks(pool: Tensor) -> None:
    mean_pose = mean_pose_6d(pool)
    first = networks_of(TINY, mean_pose)
    torch.manual_seed(99)
    assert torch.equal(flat(networks_of(TINY, mean_pose)), flat(first))
    assert not torch.equal(flat(networks_of(replace(TINY, seed=5), mean_pose)), flat(first))


def test_the_two_networks_do_not_start_alike(pool: Tensor) -> None:
    networks = networks_of(replace(TINY, auxiliary=TINY.main), mean_pose_6d(pool))
    assert networks.auxiliary is not None
    assert not torch.equal(networks.main.head.fc1.weight, networks.auxiliary.head.fc1.weight)


@pytest.mark.parametrize(
    "spec",
    [
        replace(keypoint_network(blocks=1), reads=("image",)),
        replace(image_network("resnet50", iterations=1, reads_box_info=False), backbone="resnet"),
    ],
)
def test_a_network_that_contradicts_itself(spec: object, pool: Tensor) -> None:
    with pytest.raises(ValueError, match=r"reads|unknown"):
        networks_of(replace(TINY, main=spec), mean_pose_6d(pool))  # type: ignore[arg-type]
