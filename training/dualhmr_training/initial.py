"""Networks before training: random weights and a start from the mean pose, or given weights."""

import torch
from torch import Tensor

from dualhmr.manifest import NetworkSpec
from dualhmr.mean_params import MeanParams
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective import Objective
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial_weights import InitialNetworks, check_initial, load_initial
from dualhmr_training.mixed_precision import in_mixed_precision
from dualhmr_training.synthetic.dice import Dice
from dualhmr_training.synthetic.poses import PoseVariation, sample_poses
from dualhmr_training.synthetic.viewpoints import Viewpoints, orient


def initial_networks(
    config: TrainingConfig,
    objective: Objective,
    *,
    mean_pose: Tensor,
    mean_params: MeanParams | None = None,
    initial: InitialNetworks | None = None,
) -> DualNetworks:
    """Both networks before training, on the CPU; the same configuration gives the same ones.

    All weights are those of `initial` where it is given, and where heads begin too. Otherwise they
    begin from `mean_params`, or from the pose `mean_pose` (144,) in 6D. `objective` is that of the
    outer problem; the inner steps weigh its losses their own way. Seeds torch's global generator.
    Raises ValueError where the configuration contradicts itself or `initial`, and for both of
    `mean_params` and `initial`.
    """
    if initial is not None:
        if mean_params is not None:
            raise ValueError(
                f"both mean parameters and {initial.source} say where heads begin; leave out "
                "--mean-params (mean_params), or --initial (initial)"
            )
        check_initial(initial, config)
    torch.manual_seed(config.seed)
    main, auxiliary = (
        None if spec is None else initial_network(spec, mean_pose=mean_pose, dropout=config.dropout)
        for spec in (config.main, config.auxiliary)
    )
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
        load_initial(initial, networks)
    return networks


def begin_from(networks: DualNetworks, start: HeadOutput) -> None:
    """Lets both networks' heads begin from an estimate of one person."""
    for network in (networks.main, networks.auxiliary):
        if network is not None:
            network.head.init_pose.copy_(start.pose_6d)
            network.head.init_shape.copy_(start.betas)
            network.head.init_cam.copy_(start.camera)


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
