"""Checkpoints of a training: safetensors and JSON, whole or not there."""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualhmr.files import write_text
from dualhmr.plain_data import from_plain
from dualhmr.untrusted import one_value_error, read_json
from dualhmr.weights import load_tensors, save_tensors

_PREFIX = "step-"
_STAGING = ".staging-"
_TENSORS = ("weights", "optimiser", "average")


@dataclass(frozen=True)
class RunningMeans:
    """Sums of losses and other numbers over the steps since the last report."""

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def plus(self, values: Mapping[str, float]) -> "RunningMeans":
        """With the numbers of one more step."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return RunningMeans(self.count + 1, sums)

    def means(self) -> dict[str, float]:
        """The means, by name; empty before the first step."""
        return {name: total / self.count for name, total in self.sums.items()}


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    average: dict[str, Tensor]
    """The moving average of the weights; empty without one."""
    config: dict[str, Any]
    running_means: RunningMeans = field(default_factory=RunningMeans)


@dataclass(frozen=True)
class _State:
    """The content of `state.json`."""

    step: int
    config: dict[str, Any]
    watched: RunningMeans = field(default_factory=RunningMeans)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes `checkpoint` below `folder` and removes older ones once it is whole.

    It is written under another name and renamed, so that a training that is killed at any moment
    leaves the last whole one behind. One that is there for this step already stays as it is.
    """
    final = folder / f"{_PREFIX}{checkpoint.step:08d}"
    if final.exists():
        return final
    for leftover in folder.glob(f"{_STAGING}*"):  # a killed training's, which fills the disk
        shutil.rmtree(leftover)
    staging = folder / f"{_STAGING}{uuid.uuid4().hex}"
    staging.mkdir(parents=True)
    try:
        _write(staging, checkpoint)
        staging.rename(final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    for leftover in folder.iterdir():
        if leftover != final and leftover.name.startswith(_PREFIX):
            shutil.rmtree(leftover)
    return final


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint below `folder`, if there is one.

    Raises ValueError for one that is damaged.
    """
    found = sorted(folder.glob(f"{_PREFIX}*")) if folder.is_dir() else []
    if not found:
        return None
    path = found[-1]
    advice = "put back a copy of it, or remove it to start again"
    with one_value_error(f"checkpoint {path}", "damaged", advice=advice):
        state = from_plain(_State, read_json(path / "state.json"))
        tensors = {name: load_tensors(path / f"{name}.safetensors") for name in _TENSORS}
        return Checkpoint(state.step, **tensors, config=state.config, running_means=state.watched)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's state, copied to the CPU."""
    return {name: _copy(tensor) for name, tensor in module.state_dict().items()}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments by `parameter number.name`."""
    return {
        f"{number}.{name}": _copy(value)
        for number, moments in optimiser.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for name in _TENSORS:
        save_tensors(getattr(checkpoint, name), folder / f"{name}.safetensors")
    state = _State(checkpoint.step, checkpoint.config, checkpoint.running_means)
    write_text(folder / "state.json", json.dumps(asdict(state), indent=2))
    for path in folder.iterdir():
        # A machine that loses its power must not keep the new name and lose what is in it.
        with path.open("rb") as file:
            os.fsync(file.fileno())
