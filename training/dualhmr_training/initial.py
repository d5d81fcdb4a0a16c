"""Networks before training: random weights, and a head that starts from the mean pose."""

import torch
from torch import Tensor

from dualhmr.manifest import NetworkSpec
from dualhmr.networks import MeshRegressor
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.synthetic.poses import Dice, PoseVariation, Viewpoints, orient, sample_poses


def initial_network(spec: NetworkSpec, *, mean_pose: Tensor, dropout: float) -> MeshRegressor:
    """A new network; its head's estimate starts from `mean_pose` (144,), see `mean_pose_6d`.

    Weights are drawn from torch's global generator.
    """
    network = spec.build()
    network.head.init_pose.copy_(mean_pose.reshape(1, -1))
    network.head.drop1.p = network.head.drop2.p = dropout
    return network


def upright_pose_6d() -> Tensor:
    """The rest pose, upright before the camera, (144,): a start where no poses are at hand."""
    pose = torch.eye(3).repeat(24, 1, 1)
    pose[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return rotmat_to_rot6d(pose).flatten()


def mean_pose_6d(pool: Tensor) -> Tensor:
    """The mean rotation of every joint over varied poses, (144,); upright and facing the camera."""
    dice = Dice(5)
    poses = sample_poses(pool, 4096, PoseVariation(), dice)
    mean = nearest_rotation(orient(poses, Viewpoints(), dice).mean(0))
    mean[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return rotmat_to_rot6d(mean).flatten()


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations nearest to `matrices` (..., 3, 3) in the mean square; never reflections."""
    u, _, vh = torch.linalg.svd(matrices)
    u[..., 2] *= torch.linalg.det(u @ vh)[..., None]
    return u @ vh
