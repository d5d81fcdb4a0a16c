"""Opening networks that are trained already: a bundle, or the folder of a training."""

from dataclasses import dataclass
from pathlib import Path

from dualhmr.bundle import open_bundle
from dualhmr.engines.torch_networks import torch_auxiliary_network, torch_main_network
from dualhmr.manifest import MANIFEST, NetworkSpec
from dualhmr.networks import MeshRegressor
from dualhmr.plain_data import from_plain
from dualhmr_training.record import RECORD
from dualhmr_training.trained import NetworkFacts, network_facts, read_networks, read_record


@dataclass(frozen=True, eq=False)
class Networks:
    """A main network, and the auxiliary one if it has one, in evaluation mode."""

    name: str
    source: str
    """Where they come from, for people to read."""
    main: MeshRegressor
    main_spec: NetworkSpec
    auxiliary: MeshRegressor | None
    auxiliary_spec: NetworkSpec | None
    """None where training had no auxiliary network."""
    facts: NetworkFacts

    @property
    def reads(self) -> frozenset[str]:
        """Names of all that they are given."""
        return frozenset((*self.main.reads, *(self.auxiliary.reads if self.auxiliary else ())))


def open_networks(folder: Path | None) -> Networks:
    """Opens a bundle with PyTorch weights (None: the default one), or what `dualhmr train` wrote.

    Raises FileNotFoundError for a folder that is neither, a bundle without PyTorch weights or a
    training that is not finished, and ValueError for damaged files.
    """
    if folder is None or (folder / MANIFEST).is_file():
        return _from_bundle(folder)
    if (folder / RECORD).is_file():
        return _from_training(folder)
    raise FileNotFoundError(
        f"{folder} is neither a bundle nor the folder of a training: it has no {MANIFEST} and no "
        f"{RECORD}"
    )


def _from_bundle(folder: Path | None) -> Networks:
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    return Networks(
        name=manifest.name,
        source=f"bundle {bundle.folder}",
        main=torch_main_network(bundle),
        main_spec=manifest.main,
        auxiliary=torch_auxiliary_network(bundle),
        auxiliary_spec=manifest.auxiliary,
        facts=NetworkFacts(
            body=manifest.body,
            keypoint_set=manifest.keypoint_set,
            camera=manifest.camera,
            weights=manifest.weights,
            schedule=manifest.schedule,
        ),
    )


def _from_training(folder: Path) -> Networks:
    record = read_record(folder)
    config = record["config"]
    main, auxiliary = read_networks(folder, record)
    return Networks(
        name=folder.resolve().name,
        source=f"the training in {folder}",
        main=main,
        main_spec=from_plain(NetworkSpec, config["main"]),
        auxiliary=auxiliary,
        auxiliary_spec=None if auxiliary is None else from_plain(NetworkSpec, config["auxiliary"]),
        facts=network_facts(record),
    )
