"""Networks before training: random weights and a start from the mean pose, or given weights."""

import torch
from torch import Tensor

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import HeadOutput, MeanParams, MeshRegressor
from dualhmr.objective.objective import Objective
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.configuration import TrainingConfig, differences
from dualhmr_training.data.synthetic.people import Viewpoints, orient
from dualhmr_training.data.synthetic.poses import PoseVariation, SeededRandom, sample_poses
from dualhmr_training.dual import DualNetworks, in_mixed_precision, with_simulated_eye
from dualhmr_training.training_folder import Networks

_FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""Upright and towards the camera: the camera's y axis points down, the body's up."""


def initial_networks(
    config: TrainingConfig,
    objective: Objective,
    *,
    mean_pose: Tensor,
    mean_params: MeanParams | None = None,
    initial: Networks | None = None,
) -> DualNetworks:
    """Both networks before training, on the CPU; the same configuration gives the same ones.

    With `initial` all weights are copied from there, and the heads' first estimates, too. Otherwise
    weights are random and heads start from `mean_params`, or from the pose `mean_pose` (144,) in
    6D. `objective` is that of the outer problem; inner steps use its losses at their own weights.
    Seeds torch's global generator. Raises ValueError where the configuration contradicts itself or
    `initial`, and where both `mean_params` and `initial` are given.
    """
    if initial is not None:
        if mean_params is not None:
            raise ValueError(
                f"both mean parameters and {initial.source} say where heads begin; leave out "
                "--mean-params (mean_params), or --initial (initial)"
            )
        _check_architectures(initial, config)
    torch.manual_seed(config.seed)
    main, auxiliary = (
        None if spec is None else initial_network(spec, mean_pose=mean_pose, dropout=config.dropout)
        for spec in (config.main, config.auxiliary)
    )
    if config.landmarks is not None:
        main, auxiliary = with_simulated_eye(main), with_simulated_eye(auxiliary)
    assert main is not None
    if config.precision == "bf16":
        main = in_mixed_precision(main)
        auxiliary = None if auxiliary is None else in_mixed_precision(auxiliary)
    networks = DualNetworks(
        main,
        auxiliary,
        objective.weighted(config.weights),
        config.inner,
        supervision=objective,
        outer_losses=config.outer_losses,
    )
    if mean_params is not None:
        begin_from(networks, mean_params.start)
    if initial is not None:
        main.load_state_dict(initial.main.state_dict())
        if auxiliary is not None and initial.auxiliary is not None:
            auxiliary.load_state_dict(initial.auxiliary.state_dict())
    return networks


def begin_from(networks: DualNetworks, start: HeadOutput) -> None:
    """Makes the heads of both networks start from one person's estimate."""
    for network in (networks.main, networks.auxiliary):
        if network is not None:
            network.head.init_pose.copy_(start.pose_6d)
            network.head.init_shape.copy_(start.betas)
            network.head.init_cam.copy_(start.camera)


def _check_architectures(initial: Networks, config: TrainingConfig) -> None:
    """Each network of `config` needs an initial one like it; an auxiliary one may be left over."""
    differing = [f"main.{each}" for each in differences(initial.main_spec, config.main)]
    if config.auxiliary is not None:
        if initial.auxiliary_spec is None:
            raise ValueError(
                f"{initial.source} has a main network alone, and this training an auxiliary one "
                "too; give networks that have both, or --auxiliary null"
            )
        auxiliary = differences(initial.auxiliary_spec, config.auxiliary)
        differing += [f"auxiliary.{each}" for each in auxiliary]
    if differing:
        raise ValueError(
            f"the networks of {initial.source} are not those of this training: "
            f"{'; '.join(differing)}; give these fields as they were, or other networks"
        )


def initial_network(spec: NetworkSpec, *, mean_pose: Tensor, dropout: float) -> MeshRegressor:
    """A new network; its head's estimate starts from `mean_pose` (144,), see `mean_pose_6d`.

    Weights are drawn from torch's global generator.
    """
    network = spec.build()
    network.head.init_pose.copy_(mean_pose.reshape(1, -1))
    network.head.drop1.p = network.head.drop2.p = dropout
    return network


def upright_pose_6d() -> Tensor:
    """The rest pose (144,), upright and facing the camera: a start that needs no poses."""
    pose = torch.eye(3).repeat(24, 1, 1)
    pose[0] = _FACING
    return rotmat_to_rot6d(pose).flatten()


def mean_pose_6d(pool: Tensor) -> Tensor:
    """The mean rotation of every joint over varied poses, (144,); upright and facing the camera."""
    rng = SeededRandom(5)
    poses = sample_poses(pool, 4096, PoseVariation(), rng)
    mean = nearest_rotation(orient(poses, Viewpoints(), rng).mean(0))
    mean[0] = _FACING
    return rotmat_to_rot6d(mean).flatten()


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations nearest to `matrices` (..., 3, 3) in the mean square; never reflections."""
    u, _, vh = torch.linalg.svd(matrices)
    u[..., 2] *= torch.linalg.det(u @ vh)[..., None]
    return u @ vh
