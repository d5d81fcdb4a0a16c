"""Weights of networks that exist already, for a training to begin from: fine-tuning."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dualhmr.manifest import NetworkSpec
from dualhmr.networks import MeshRegressor
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.opened import open_networks
from dualhmr_training.overrides import differences
from dualhmr_training.record import digest


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
