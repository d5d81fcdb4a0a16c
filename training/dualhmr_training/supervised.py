"""Ordinary training (Eq. 1-3) of a keypoint-reading network on synthetic people."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dualhmr.body import Body, keypoint_regressor
from dualhmr.camera import box_info
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import BODY_23
from dualhmr.networks import KeypointTrunk, MeshRegressor, RegressorHead
from dualhmr.objective import Evidence, Objective
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.configuration import NetworkConfig, TrainingConfig
from dualhmr_training.synthetic.people import People, PeopleSampler
from dualhmr_training.synthetic.poses import Dice, PoseVariation, Viewpoints, orient, sample_poses

Report = Callable[[int, float, MeshRegressor], None]


def build_network(config: NetworkConfig, pool: Tensor) -> MeshRegressor:
    """A new network whose head starts from the mean of the poses in `pool` (M, 24, 3)."""
    trunk = KeypointTrunk(
        keypoint_count=len(BODY_23), feature_count=config.feature_count, blocks=config.blocks
    )
    head = RegressorHead(
        config.feature_count,
        hidden=config.hidden,
        iterations=config.iterations,
        reads_box_info=False,
        dropout=0.0,
        mean_pose=mean_pose_6d(pool),
    )
    return MeshRegressor(trunk, head)


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


def training_objective(body: Body, config: TrainingConfig) -> Objective:
    """The objective of training, over all 23 keypoints of the body."""
    keypoints = keypoint_regressor(body, BODY_23)
    return Objective(
        body,
        keypoints=keypoints,
        keypoint_count=len(BODY_23),
        camera="cliff",
        weights=config.weights,
        extra_joints=keypoints,
    )


def inputs_of(people: People) -> dict[str, Tensor]:
    """What the network reads of synthetic people: what was detected, not what is true."""
    keypoints = keypoints_input(people.detected, people.confidence, source=BODY_23, target=BODY_23)
    return {"keypoints": keypoints, "box_info": box_info(people.view)}


def train(
    body: Body, pool: Tensor, config: TrainingConfig, *, report: Report | None = None
) -> MeshRegressor:
    """Trains a network on poses from `pool` (M, 24, 3); the same config gives the same network.

    `report` is called after every step with the step's number, its loss and the network.
    """
    torch.manual_seed(config.seed)
    network = build_network(config.network, pool)
    objective = training_objective(body, config)
    sampler = PeopleSampler(body, pool, config.population, seed=config.seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(config, step)
        people = sampler.sample(config.batch)
        with torch.no_grad():
            target = objective.target(people.rotations, people.betas)
        evidence = Evidence(people.keypoints, people.in_view.float(), people.view, target)
        loss = torch.stack(list(objective.losses(network(inputs_of(people)), evidence).values()))
        mean = loss.sum(0).mean()
        optimiser.zero_grad()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
        optimiser.step()
        if report is not None:
            report(step + 1, mean.item(), network)
    return network.eval()


def _rate(config: TrainingConfig, step: int) -> float:
    """Warm-up, then half a cosine down to the final rate."""
    warm_up = min(1.0, (step + 1) / config.warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return warm_up * (config.final_rate + (config.learning_rate - config.final_rate) * cosine)
