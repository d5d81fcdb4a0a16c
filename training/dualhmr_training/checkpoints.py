"""Checkpoints of a training: safetensors and JSON, whole or not there."""

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    average: dict[str, Tensor]
    """The moving average of the weights; empty without one."""
    config: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes `checkpoint` below `folder` and removes older ones once it is whole.

    It is written under another name and renamed, so that a training that is killed at any moment
    leaves the last whole one behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{uuid.uuid4().hex}"
    staging.mkdir()
    safetensors.torch.save_file(checkpoint.weights, staging / "weights.safetensors")
    safetensors.torch.save_file(checkpoint.optimiser, staging / "optimiser.safetensors")
    safetensors.torch.save_file(checkpoint.average, staging / "average.safetensors")
    state = {"step": checkpoint.step, "config": checkpoint.config}
    (staging / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    final = folder / f"{_PREFIX}{checkpoint.step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    staging.rename(final)
    for leftover in folder.iterdir():
        if leftover != final and leftover.name.startswith((_PREFIX, ".")):
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
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        weights, optimiser, average = (
            safetensors.torch.load_file(path / f"{name}.safetensors")
            for name in ("weights", "optimiser", "average")
        )
    except (OSError, json.JSONDecodeError, safetensors.SafetensorError) as error:
        raise ValueError(f"checkpoint {path} is damaged: {error}; remove it to go back") from error
    return Checkpoint(state["step"], weights, optimiser, average, state["config"])


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's state, copied to the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments by `parameter number.name`."""
    return {
        f"{number}.{name}": value.detach().cpu().clone()
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
