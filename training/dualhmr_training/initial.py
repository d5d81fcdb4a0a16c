"""Networks before training: random weights and a start from the mean pose, or given weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import HeadOutput, MeanParams, MeshRegressor
from dualhmr.objective.objective import Objective
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.configuration import TrainingConfig, differences
from dualhmr_training.data.synthetic.people import Viewpoints, orient
from dualhmr_training.data.synthetic.poses import PoseVariation, SeededRandom, sample_poses
from dualhmr_training.dual import DualNetworks, in_mixed_precision
from dualhmr_training.training_folder import digest, open_networks


@dataclass(frozen=True, eq=False)
class InitialNetwork:
    """One network's architecture and weights."""

    spec: NetworkSpec
    state: Mapping[str, Tensor]
    """Its state dict; where the head begins (`head.init_pose` and so on) is part of it."""


@dataclass(frozen=True, eq=False)
class InitialNetworks:
    """What a training begins from instead of random weights."""

    source: str
    """Where they come from, for people to read."""
    main: InitialNetwork
    auxiliary: InitialNetwork | None

    @property
    def sha256(self) -> str:
        """The digest of both networks' weights, in hexadecimal."""
        states = [network.state for network in (self.main, self.auxiliary) if network]
        return digest(*(tensor for state in states for tensor in state.values()))


def read_initial(folder: str | os.PathLike[str]) -> InitialNetworks:
    """The weights in a bundle with PyTorch weights, or in the folder of a finished training.

    Raises FileNotFoundError and ValueError as `open_networks` does.
    """
    opened = open_networks(Path(folder))
    auxiliary = None
    if opened.auxiliary is not None and opened.auxiliary_spec is not None:
        auxiliary = InitialNetwork(opened.auxiliary_spec, opened.auxiliary.state_dict())
    main = InitialNetwork(opened.main_spec, opened.main.state_dict())
    return InitialNetworks(opened.source, main, auxiliary)


def check_initial(initial: InitialNetworks, config: TrainingConfig) -> None:
    """Raises ValueError where `initial` is not what `config` needs.

    That is a network of the same architecture for each of its own; an auxiliary network that it
    has no use for may be there.
    """
    differing = _differing("main", initial.main, config.main)
    if config.auxiliary is not None:
        if initial.auxiliary is None:
            raise ValueError(
                f"{initial.source} has a main network alone, and this training an auxiliary one "
                "too; give networks that have both, or --auxiliary null"
            )
        differing += _differing("auxiliary", initial.auxiliary, config.auxiliary)
    if differing:
        raise ValueError(
            f"the networks of {initial.source} are not those of this training: "
            f"{'; '.join(differing)}; give these fields as they were, or other networks"
        )


def load_initial(initial: InitialNetworks, networks: DualNetworks) -> None:
    """Copies the weights into `networks`, which may have no auxiliary one.

    Raises ValueError where weights are missing, the heads' start among them, or do not fit.
    """
    _load(initial, initial.main, networks.main)
    if networks.auxiliary is not None and initial.auxiliary is not None:
        _load(initial, initial.auxiliary, networks.auxiliary)


def _load(initial: InitialNetworks, given: InitialNetwork, network: MeshRegressor) -> None:
    try:
        network.load_state_dict(given.state)
    except RuntimeError as error:
        raise ValueError(
            f"{initial.source}: the weights do not fit the network: {error}"
        ) from error


def _differing(role: str, given: InitialNetwork, needed: NetworkSpec) -> list[str]:
    return [f"{role}.{difference}" for difference in differences(given.spec, needed)]


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
    rng = SeededRandom(5)
    poses = sample_poses(pool, 4096, PoseVariation(), rng)
    mean = nearest_rotation(orient(poses, Viewpoints(), rng).mean(0))
    mean[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return rotmat_to_rot6d(mean).flatten()


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations nearest to `matrices` (..., 3, 3) in the mean square; never reflections."""
    u, _, vh = torch.linalg.svd(matrices)
    u[..., 2] *= torch.linalg.det(u @ vh)[..., None]
    return u @ vh
