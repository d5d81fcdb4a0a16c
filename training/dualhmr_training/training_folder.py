"""The folder of a training: `training.json`, the networks in it, and opening them or a bundle."""

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.bundle import MANIFEST, NetworkSpec, ScheduleDefaults, open_bundle
from dualhmr.engines.torch_networks import torch_networks
from dualhmr.files import write_json
from dualhmr.keypoints import BODY_23, SPIN_49
from dualhmr.networks import MeshRegressor
from dualhmr.objective.weights import LossWeights
from dualhmr.plain_data import from_plain
from dualhmr.untrusted import brief, one_value_error, read_json
from dualhmr.weights import load_weights
from dualhmr_training.configuration import InnerLoop, TrainingConfig, with_overrides

RECORD = "training.json"


def training_record(config: TrainingConfig, body: Body, **data: object) -> dict[str, Any]:
    """Commit, configuration, body and what else identifies the data, as plain values."""
    record = {
        "commit": current_commit(),
        "config": asdict(config),
        "body": body.name,
        "body_sha256": body_sha256(body),
        **data,
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Writes `training.json` for a training that begins."""
    write_json(out / RECORD, record)


def check_record(out: Path, record: dict[str, Any]) -> None:
    """Raises ValueError where the training in `out` began with another body or other data.

    The commit may differ, and the checkpoint knows the configuration.
    """
    path = out / RECORD
    if not path.is_file():
        return
    there = read_json(path)
    if not isinstance(there, dict):
        raise ValueError(f"{path} is not the record of a training, it holds {brief(there)}")
    differing = [
        name
        for name in sorted({*there, *record} - {"commit", "config"})
        if there.get(name) != record.get(name)
    ]
    if differing:
        raise ValueError(
            f"the training in {out} began with other data (see {', '.join(differing)} in "
            f"{RECORD}); go on with the same, or train into another folder"
        )


def body_sha256(body: Body) -> str:
    """The hash of the template and of its shape and pose directions, in hexadecimal."""
    return tensors_sha256(body.v_template, body.shapedirs, body.posedirs)


def tensors_sha256(*tensors: Tensor) -> str:
    """The hash of the tensors' values, in hexadecimal; strides and devices do not count."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def current_commit() -> str:
    """The commit that trains, as git names it; `unknown` outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


DEFAULT_ADAM_RATE = 6e-5
"""Of test time, which training does not tune: the rate that was best for the default networks."""
_NEEDED_FIELDS = {"main", "auxiliary", "weights"}


@dataclass(frozen=True)
class NetworkFacts:
    """What test-time adaptation of a pair of networks needs besides their weights."""

    body: str
    """Whose betas they regress."""
    keypoint_set: str
    """The 2D keypoints that they read, or were trained to fit: a set's name, or `SPIN_49`."""
    camera: str
    weights: LossWeights
    """Those of test time."""
    schedule: ScheduleDefaults
    crop: str = "dualhmr"
    """How their crops are made: one of `dualhmr.crop.CROP_CONVENTIONS`."""
    focal_length: str = "diagonal"
    """The guess where nobody knows the image's: one of `dualhmr.camera.FOCAL_LENGTHS`."""


def read_record(folder: Path) -> dict[str, Any]:
    """What `training.json` says: commit, configuration, body, data.

    Raises FileNotFoundError, or ValueError for a damaged file.
    """
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no training: there is no {path.name}")
    record = read_json(path)
    config = record.get("config") if isinstance(record, dict) else None
    if not isinstance(config, dict) or not config.keys() >= _NEEDED_FIELDS or "body" not in record:
        raise ValueError(
            f"{path} is not the record of a training: it lacks body, or config with "
            f"{', '.join(sorted(_NEEDED_FIELDS))}"
        )
    with one_value_error(path, "not the record of a training"):
        network_facts(record)
        for role in ("main", "auxiliary"):
            if config[role] is not None or role == "main":
                from_plain(NetworkSpec, config[role])
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
            f"the training in {folder} is not finished: there is no {path.name}; run the command "
            "that began it again to resume it"
        )
    with one_value_error(folder / RECORD, f"it describes no {role} network"):
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
            adam_rate=DEFAULT_ADAM_RATE,
            descent_rate=inner.learning_rate,
            descent_max_norm=inner.max_norm,
        ),
    )
    return with_overrides(facts, changes)


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

    @property
    def sha256(self) -> str:
        """The hash of all weights of both networks, in hexadecimal."""
        networks = (self.main, self.auxiliary)
        states = [network.state_dict() for network in networks if network is not None]
        return tensors_sha256(*(tensor for state in states for tensor in state.values()))


def open_networks(folder: str | os.PathLike[str] | None) -> Networks:
    """Opens a bundle with PyTorch weights (None: the default one), or what `dualhmr train` wrote.

    Raises FileNotFoundError for a folder that is neither, a bundle without PyTorch weights or a
    training that is not finished, and ValueError for damaged files.
    """
    if folder is None:
        return _from_bundle(None)
    folder = Path(folder)
    if (folder / MANIFEST).is_file():
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
    main, auxiliary = torch_networks(bundle)
    return Networks(
        name=manifest.name,
        source=f"bundle {bundle.folder}",
        main=main,
        main_spec=manifest.main,
        auxiliary=auxiliary,
        auxiliary_spec=manifest.auxiliary,
        facts=NetworkFacts(
            body=manifest.body,
            keypoint_set=manifest.keypoint_set,
            camera=manifest.camera,
            weights=manifest.weights,
            schedule=manifest.schedule,
            crop=manifest.crop,
            focal_length=manifest.focal_length,
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
