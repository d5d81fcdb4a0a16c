"""What `dualhmr train` left in a folder: the networks, and what using them takes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualhmr.keypoints import BODY_23, SPIN_49
from dualhmr.loss_weights import LossWeights
from dualhmr.manifest import NetworkSpec, ScheduleDefaults
from dualhmr.networks import MeshRegressor
from dualhmr.plain_data import from_plain
from dualhmr.weights import load_weights
from dualhmr_training.inner_loop import InnerLoop
from dualhmr_training.overrides import with_overrides
from dualhmr_training.record import RECORD

ADAM_RATE = 6e-5
"""A training tunes no rates for test time; with this one the default networks do well."""
_FIELDS = {"main", "auxiliary", "weights"}


@dataclass(frozen=True)
class NetworkFacts:
    """What adapting a pair of networks takes beside their weights."""

    body: str
    """Whose betas they regress."""
    keypoint_set: str
    """The 2D keypoints that they read, or were trained to fit: a set's name, or `SPIN_49`."""
    camera: str
    weights: LossWeights
    """Those of test time."""
    schedule: ScheduleDefaults


def read_record(folder: Path) -> dict[str, Any]:
    """What `dualhmr train` noted of a training: commit, configuration, body, data.

    Raises FileNotFoundError, or ValueError for a damaged file.
    """
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no training: there is no {path.name}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    config = record.get("config") if isinstance(record, dict) else None
    if not isinstance(config, dict) or not config.keys() >= _FIELDS or "body" not in record:
        raise ValueError(
            f"{path} is not the record of a training: it lacks body, or config with "
            f"{', '.join(sorted(_FIELDS))}"
        )
    return record


def read_networks(
    folder: Path, record: dict[str, Any]
) -> tuple[MeshRegressor, MeshRegressor | None]:
    """The main network and the auxiliary one, None where there was none; in evaluation mode.

    Raises FileNotFoundError where the training is not finished, ValueError for weights that are
    damaged or of another network.
    """
    config = record["config"]
    auxiliary = config["auxiliary"]
    return (
        _read_network(folder, "main", config["main"]),
        None if auxiliary is None else _read_network(folder, "auxiliary", auxiliary),
    )


def _read_network(folder: Path, role: str, plain: object) -> MeshRegressor:
    path = folder / f"{role}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"the training in {folder} is not finished: there is no {path.name}; the command that "
            "began it goes on with it"
        )
    network = from_plain(NetworkSpec, plain).build()
    load_weights(network, path)
    return network.eval()


def network_facts(record: dict[str, Any], changes: Sequence[str] = ()) -> NetworkFacts:
    """What a training's record says of its networks; ValueError where it contradicts itself.

    Their schedule begins with the inner step they were trained with; it is the paper's where there
    was none, and EFT's where there is no auxiliary network. `changes` name fields and their values
    as on the command line of training: `--schedule.adam_rate`, `1e-4`.
    """
    config = record["config"]
    inner = from_plain(InnerLoop, config.get("inner", {}))
    schedule = "eft" if config["auxiliary"] is None else "trained" if inner.steps else "paper"
    on_datasets = config.get("data") == "datasets"
    facts = NetworkFacts(
        body=record["body"],
        keypoint_set=SPIN_49 if on_datasets else BODY_23.name,
        camera=config.get("camera", "cliff"),
        weights=from_plain(LossWeights, config["weights"]),
        schedule=ScheduleDefaults(
            schedule,
            adam_rate=ADAM_RATE,
            descent_rate=inner.learning_rate,
            descent_max_norm=inner.max_norm,
        ),
    )
    return with_overrides(facts, changes)
