"""What one checkpoint holds."""

from dataclasses import dataclass

from dualhmr.manifest import NetworkSpec
from dualhmr.networks import MeshRegressor
from dualhmr_training.trained import NetworkFacts


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network with its weights, in evaluation mode."""

    network: MeshRegressor
    spec: NetworkSpec


@dataclass(frozen=True, eq=False)
class Contents:
    """The networks of one checkpoint, and what is known of them."""

    kind: str
    main: ImportedNetwork
    auxiliary: ImportedNetwork | None
    """None where the checkpoint holds one network."""
    facts: NetworkFacts
    begins_with_mean_params: bool = False
    """Whether the heads' start came from another file."""
