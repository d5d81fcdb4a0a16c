"""Checkpoint files of other projects: one row of `FORMATS` for each format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dualhmr.bundle import ScheduleDefaults
from dualhmr.keypoints import SPIN_49
from dualhmr.networks import read_mean_params
from dualhmr.objective.weights import LossWeights
from dualhmr_export.checkpoints.architectures import (
    Architecture,
    Contents,
    ImportedNetwork,
    recognise,
)
from dualhmr_export.checkpoints.hmr2 import DESCRIPTION as HMR2
from dualhmr_export.checkpoints.hmr2 import is_hmr2, read_hmr2
from dualhmr_export.checkpoints.lightning import open_lightning
from dualhmr_export.checkpoints.torch_files import AnyPath, read_checkpoint
from dualhmr_training.training_folder import NetworkFacts

_MAIN, _AUXILIARY = "model", "model_aux"
_INITIAL_ESTIMATE = ("init_pose", "init_shape", "init_cam")
_ITERATIONS = 3
"""Of HMR's head, in every release except for Meta-HMR's main network."""
_META_HMR_MAIN_ITERATIONS = 10
_LEARNING_RATE = 1e-5
"""Of Meta-HMR's test-time optimisation."""
_KEYS_LISTED = 10


@dataclass(frozen=True, eq=False)
class ReleaseFile:
    """A checkpoint file whose networks are recognised but not built."""

    path: Path
    states: Mapping[str, dict[str, Tensor]]
    """State dicts by role: `model`, and `model_aux` if the file has one."""
    architectures: Mapping[str, Architecture]
    """Of the same roles."""
    mean_params: AnyPath | None

    @property
    def main(self) -> Architecture:
        """The architecture of `model`."""
        return self.architectures[_MAIN]

    def load(self, role: str, *, iterations: int, **missing: Tensor) -> ImportedNetwork:
        """Builds a network from the file's tensors and those that it lacks, `missing`."""
        architecture = self.architectures[role]
        try:
            return architecture.load(self.states[role] | missing, iterations=iterations)
        except ValueError as error:
            raise ValueError(f"{self.path}: {role} ({architecture.title}): {error}") from error

    def facts(self, *, crop: str) -> NetworkFacts:
        """What all three releases have in common, and the camera, which follows from the head."""
        return NetworkFacts(
            body="smpl",
            keypoint_set=SPIN_49,
            camera="cliff" if self.main.reads_box_info else "hmr",
            weights=LossWeights(),
            schedule=ScheduleDefaults(
                "paper", adam_rate=_LEARNING_RATE, descent_rate=_LEARNING_RATE
            ),
            crop=crop,
        )


def _read_meta_hmr(file: ReleaseFile) -> Contents:
    main, auxiliary = file.main, file.architectures[_AUXILIARY]
    if main.reads_box_info != auxiliary.reads_box_info:
        raise ValueError(
            f"{file.path}: model is {main.title}, model_aux is {auxiliary.title}; both have to be "
            "CLIFF, or both HMR, because their cameras differ"
        )
    return Contents(
        f"Meta-HMR, {main.title}",
        file.load(_MAIN, iterations=_META_HMR_MAIN_ITERATIONS),
        file.load(_AUXILIARY, iterations=_ITERATIONS),
        file.facts(crop="meta_hmr"),
    )


def _read_cliff(file: ReleaseFile) -> Contents:
    network = file.load(_MAIN, iterations=_ITERATIONS)
    return Contents(f"CLIFF, {file.main.layout.title}", network, None, file.facts(crop="cliff"))


def _read_spin(file: ReleaseFile) -> Contents:
    """SPIN's own `hmr.pt` lacks the head's initial estimate; files of its training code have it."""
    estimate: dict[str, Tensor] = {}
    if not any(name in file.states[_MAIN] for name in _INITIAL_ESTIMATE):
        if file.mean_params is None:
            raise ValueError(
                f"{file.path}: a SPIN checkpoint ({file.main.title}) without the head's initial "
                f"estimate ({', '.join(_INITIAL_ESTIMATE)}); pass SPIN's smpl_mean_params.npz as "
                "mean_params (--mean-params)"
            )
        start = read_mean_params(file.mean_params).start
        estimate = dict(zip(_INITIAL_ESTIMATE, start, strict=True))
    network = file.load(_MAIN, iterations=_ITERATIONS, **estimate)
    return Contents(
        f"SPIN, {file.main.title}",
        network,
        None,
        file.facts(crop="spin"),
        used_mean_params=bool(estimate),
    )


@dataclass(frozen=True)
class ReleaseFormat:
    """One format: how to recognise a file of it, and how to read it."""

    description: str
    """For the error that lists the supported formats."""
    matches: Callable[[ReleaseFile], bool]
    read: Callable[[ReleaseFile], Contents]


FORMATS = (
    ReleaseFormat(
        "Meta-HMR (model and model_aux: CLIFF HRNet-W48, CLIFF ResNet-50 or HMR ResNet-50)",
        lambda file: _AUXILIARY in file.states,
        _read_meta_hmr,
    ),
    ReleaseFormat(
        "CLIFF (model: ResNet-50 or HRNet-W48 under module.encoder.)",
        lambda file: file.main.reads_box_info and file.main.layout.prefix == "encoder.",
        _read_cliff,
    ),
    ReleaseFormat(
        "SPIN's hmr.pt (model: HMR ResNet-50)",
        lambda file: not file.main.reads_box_info and file.main.layout.prefix == "",
        _read_spin,
    ),
)
"""The first that matches is read."""
_TRAINING_FOLDER = "a folder of dualhmr train (with training.json)"


def read_release(path: Path, mean_params: AnyPath | None) -> Contents:
    """The networks in a file of one of `FORMATS`, or of HMR2.0.

    For `mean_params` see `import_checkpoint`.

    Raises ValueError for another file and for one whose tensors are not exactly those of its
    networks, and what `read_checkpoint` and `read_mean_params` raise.
    """
    lightning = open_lightning(path)
    if lightning is not None:
        if not is_hmr2(lightning.tensors):
            raise _unsupported(path, lightning.content, "its state_dict is not one of HMR2.0")
        return read_hmr2(lightning)
    checkpoint = read_checkpoint(path)
    if _MAIN not in checkpoint:
        raise _unsupported(path, checkpoint, f"it lacks {_MAIN}")
    states = {
        role: _state_dict(path, role, checkpoint[role])
        for role in (_MAIN, _AUXILIARY)
        if role in checkpoint
    }
    architectures = {}
    for role, state in states.items():
        try:
            architectures[role] = recognise(state)
        except ValueError as error:
            raise _unsupported(path, checkpoint, f"{role}: {error}") from error
    file = ReleaseFile(path, states, architectures, mean_params)
    for format_ in FORMATS:
        if format_.matches(file):
            return format_.read(file)
    raise _unsupported(
        path,
        checkpoint,
        f"model is {file.main.title} with its backbone under {file.main.layout.prefix!r}, "
        "without model_aux",
    )


def _state_dict(path: Path, role: str, value: object) -> dict[str, Tensor]:
    """The entry as tensors by name, without the `module.` that DataParallel adds to all names."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {role} is of type {type(value).__name__}, expected a state dict")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path}: {role} is not a state dict: {_short(name)} is of type "
                f"{type(tensor).__name__}, expected tensors by name"
            )
    prefix = "module." if all(name.startswith("module.") for name in value) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in value.items()}


def _unsupported(path: Path, checkpoint: Mapping[Any, Any], reason: str) -> ValueError:
    listed = ", ".join(_short(key) for key in list(checkpoint)[:_KEYS_LISTED]) or "nothing"
    rest = len(checkpoint) - _KEYS_LISTED
    formats = [*(each.description for each in FORMATS), HMR2, _TRAINING_FOLDER]
    return ValueError(
        f"{path}: not a supported format: {reason}. At its top level it holds {listed}"
        + (f" and {rest} more" if rest > 0 else "")
        + f". Supported are: {'; '.join(formats)}"
    )


def _short(key: object) -> str:
    return repr(key)[:60]
