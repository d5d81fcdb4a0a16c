"""Checkpoint files of others: of Meta-HMR, CLIFF and SPIN."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from dualhmr.bundle import ScheduleDefaults
from dualhmr.keypoints import SPIN_49
from dualhmr.networks import read_mean_params
from dualhmr.objective.weights import LossWeights
from dualhmr_export.checkpoints.layouts import Contents, ImportedNetwork, Recognised, recognise
from dualhmr_export.checkpoints.reading import read_checkpoint
from dualhmr_training.training_folder import NetworkFacts

KNOWN_FORMATS = (
    "Meta-HMR (model and model_aux: CLIFF HRNet-W48, CLIFF ResNet-50 or HMR ResNet-50)",
    "CLIFF (model: ResNet-50 or HRNet-W48 under module.encoder.)",
    "SPIN's hmr.pt (model: HMR ResNet-50)",
    "a folder of dualhmr train (with training.json)",
)
_MAIN, _AUXILIARY = "model", "model_aux"
_MAIN_ITERATIONS, _ITERATIONS = 10, 3
_RATE = 1e-5
_START = ("init_pose", "init_shape", "init_cam")
_KEYS_LISTED = 10


def read_release(path: Path, mean_params: str | os.PathLike[str] | None) -> Contents:
    """The networks in the file; what `mean_params` is for, see `import_checkpoint`.

    Raises ValueError for a file of no known format, or whose tensors are not all those of its
    networks, and as `read_checkpoint` and `read_mean_params` do.
    """
    checkpoint = read_checkpoint(path)
    if _MAIN not in checkpoint:
        raise _unknown(path, checkpoint, f"it lacks {_MAIN}")
    states = {
        role: _state_dict(path, role, checkpoint[role])
        for role in (_MAIN, _AUXILIARY)
        if role in checkpoint
    }
    found = {}
    for role, state in states.items():
        try:
            found[role] = recognise(state)
        except ValueError as error:
            raise _unknown(path, checkpoint, f"{role}: {error}") from error
    if _AUXILIARY in states:
        return _meta_hmr(path, found, states)
    main, layout = found[_MAIN], found[_MAIN].layout
    if main.reads_box_info and layout.prefix == "encoder.":
        network = _load(path, _MAIN, main, states[_MAIN], iterations=_ITERATIONS)
        return Contents(f"CLIFF, {layout.title}", network, None, _facts(main))
    if not main.reads_box_info and layout.backbone == "resnet50" and layout.prefix == "":
        return _spin(path, main, states[_MAIN], mean_params)
    raise _unknown(
        path,
        checkpoint,
        f"model is {main.title} with its backbone under {layout.prefix!r}, without model_aux",
    )


def _meta_hmr(
    path: Path, found: Mapping[str, Recognised], states: Mapping[str, Mapping[str, Tensor]]
) -> Contents:
    main, auxiliary = found[_MAIN], found[_AUXILIARY]
    if main.reads_box_info != auxiliary.reads_box_info:
        raise ValueError(
            f"{path}: model is {main.title}, model_aux is {auxiliary.title}; both have to be "
            "CLIFF, or both HMR, for their cameras differ"
        )
    return Contents(
        f"Meta-HMR, {main.title}",
        _load(path, _MAIN, main, states[_MAIN], iterations=_MAIN_ITERATIONS),
        _load(path, _AUXILIARY, auxiliary, states[_AUXILIARY], iterations=_ITERATIONS),
        _facts(main),
    )


def _spin(
    path: Path,
    found: Recognised,
    state: Mapping[str, Tensor],
    mean_params: str | os.PathLike[str] | None,
) -> Contents:
    lacks_start = not any(name in state for name in _START)
    if lacks_start:
        if mean_params is None:
            raise ValueError(
                f"{path}: a SPIN checkpoint ({found.title}) that does not hold where its head "
                "begins; name SPIN's smpl_mean_params.npz as mean_params (--mean-params)"
            )
        start = read_mean_params(mean_params).start
        state = {**state, **dict(zip(_START, start, strict=True))}
    network = _load(path, _MAIN, found, state, iterations=_ITERATIONS)
    return Contents(
        f"SPIN, {found.title}", network, None, _facts(found), begins_with_mean_params=lacks_start
    )


def _facts(found: Recognised) -> NetworkFacts:
    return NetworkFacts(
        body="smpl",
        keypoint_set=SPIN_49,
        camera="cliff" if found.reads_box_info else "hmr",
        weights=LossWeights(),
        schedule=ScheduleDefaults("paper", adam_rate=_RATE, descent_rate=_RATE),
    )


def _load(
    path: Path, role: str, found: Recognised, state: Mapping[str, Tensor], *, iterations: int
) -> ImportedNetwork:
    try:
        return found.load(state, iterations=iterations)
    except ValueError as error:
        raise ValueError(f"{path}: {role} ({found.title}): {error}") from error


def _state_dict(path: Path, role: str, value: object) -> dict[str, Tensor]:
    """The entry as tensors by name, without the `module.` that DataParallel puts before all."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {role} is of type {type(value).__name__}, expected a state dict")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path}: {role} is no state dict: under {_short(name)} there is "
                f"{type(tensor).__name__}, expected tensors by name"
            )
    prefix = "module." if all(name.startswith("module.") for name in value) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in value.items()}


def _unknown(path: Path, keys: Collection[object], reason: str) -> ValueError:
    listed = ", ".join(_short(key) for key in list(keys)[:_KEYS_LISTED]) or "nothing"
    rest = len(keys) - _KEYS_LISTED
    return ValueError(
        f"{path}: of no known format: {reason}. At its top level it holds {listed}"
        + (f" and {rest} more" if rest > 0 else "")
        + f". Known are: {'; '.join(KNOWN_FORMATS)}"
    )


def _short(key: object) -> str:
    return repr(key)[:60]
