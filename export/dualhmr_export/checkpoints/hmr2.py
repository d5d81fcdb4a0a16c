"""HMR2.0's checkpoints (4D-Humans, Goel et al., ICCV 2023), which Lightning wrote."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dualhmr.bundle import NetworkSpec, ScheduleDefaults
from dualhmr.keypoints import SPIN_49
from dualhmr.networks.head import POSE_COUNT
from dualhmr.networks.regressor import check_state
from dualhmr.objective.weights import LossWeights
from dualhmr_export.checkpoints.architectures import Contents, ImportedNetwork
from dualhmr_export.checkpoints.lightning import (
    LightningCheckpoint,
    StandIn,
    StoredTensor,
    entries_of,
)
from dualhmr_training.training_folder import NetworkFacts

DESCRIPTION = "HMR2.0 of 4D-Humans (Lightning's state_dict with backbone. and smpl_head.)"
_BLOCKS = "backbone.blocks."
_NOT_NEEDED = ("discriminator.", "smpl.", "initialized")
"""A prior of training, the body model, and a flag."""
_HEAD = {
    "smpl_head.init_body_pose": "head.init_pose",
    "smpl_head.init_betas": "head.init_shape",
    "smpl_head.init_cam": "head.init_cam",
} | {
    f"smpl_head.{layer}.{part}": f"head.{layer}.{part}"
    for layer in ("decpose", "decshape", "deccam")
    for part in ("weight", "bias")
}
"""The names of the head that is adapted; all others are those of the backbone."""
_LEARNING_RATE = 1e-5
"""That of the other releases: no weights have been available to choose one with."""
_SETTINGS: dict[tuple[str, ...], object] = {
    ("MODEL", "BBOX_SHAPE"): [192, 256],
    ("MODEL", "SMPL_HEAD", "IEF_ITERS"): 1,
    ("MODEL", "SMPL_HEAD", "TRANSFORMER_INPUT"): "zero",
    ("MODEL", "SMPL_HEAD", "JOINT_REP"): "6d",
    ("MODEL", "SMPL_HEAD", "TRANSFORMER_DECODER", "dim"): 1024,
}
"""What the network here is written for; the released configuration leaves them out."""


def is_hmr2(names: Iterable[str]) -> bool:
    """Whether a state dict with these names is one of HMR2.0."""
    return any(name.startswith(_BLOCKS) for name in names) and "smpl_head.decpose.weight" in names


def read_hmr2(file: LightningCheckpoint) -> Contents:
    """The network in the file.

    Raises ValueError for tensors that are not exactly those of the network, and for a configuration
    that describes another one.
    """
    tensors = {
        name: tensor for name, tensor in file.tensors.items() if not name.startswith(_NOT_NEEDED)
    }
    try:
        _check_settings(file.content.get("hyper_parameters"))
        spec = NetworkSpec(
            backbone="hmr2",
            backbone_options={"blocks": _depth(tensors)},
            reads=("image",),
            hidden=0,
            iterations=1,
            head_reads_box_info=False,
        )
        network = _load(spec, tensors)
    except ValueError as error:
        raise ValueError(f"{file.path}: HMR2.0: {error}") from error
    facts = NetworkFacts(
        body="smpl",
        keypoint_set=SPIN_49,
        camera="cliff",
        weights=LossWeights(),
        schedule=ScheduleDefaults("paper", adam_rate=_LEARNING_RATE, descent_rate=_LEARNING_RATE),
        crop="hmr2",
        focal_length="hmr2",
    )
    return Contents("HMR2.0", network, None, facts)


def _depth(names: Iterable[str]) -> int:
    """How many blocks the vision transformer has."""
    numbers = [
        name.removeprefix(_BLOCKS).split(".")[0] for name in names if name.startswith(_BLOCKS)
    ]
    if not all(number.isdecimal() and len(number) < 4 for number in numbers):
        raise ValueError(f"blocks are numbered {', '.join(sorted({*numbers})[:3])}...")
    return 1 + max(map(int, numbers))


@torch.no_grad()
def _load(spec: NetworkSpec, tensors: dict[str, StoredTensor]) -> ImportedNetwork:
    """Tensor by tensor, so that there is no second copy of the weights in memory."""
    with torch.device("meta"):  # the file decides how deep it is: first see whether all is there
        own = spec.build().state_dict()
    theirs = {ours: name for name, ours in _HEAD.items()}
    names = {name: theirs.get(name, name.removeprefix("backbone.")) for name in own}
    check_state({names[name]: tensor for name, tensor in own.items()}, tensors)
    network = spec.build().eval()
    for name, parameter in network.state_dict().items():
        tensor = tensors[names[name]].read()
        is_pose = "pose" in name and name.startswith("head.")
        parameter.copy_(_interleaved(tensor, name) if is_pose else tensor)
    return ImportedNetwork(network, spec)


def _interleaved(tensor: Tensor, name: str) -> Tensor:
    """Pose numbers in our order.

    HMR2.0 writes the two columns of a rotation one after the other; our heads, as SPIN's, write the
    3x2 matrix of both by rows. So the rows of the readout change places.
    """
    axis = 1 if name.endswith("init_pose") else 0
    numbers = torch.arange(POSE_COUNT).reshape(-1, 2, 3)
    return tensor.index_select(axis, numbers.mT.reshape(-1))


def _check_settings(hyper_parameters: object) -> None:
    config = (_mapping(hyper_parameters) or {}).get("cfg")
    for path, expected in _SETTINGS.items():
        value = config
        for key in path:
            value = (_mapping(value) or {}).get(key)
        found = _plain(value)
        if found is not None and found != expected:
            raise ValueError(
                f"its configuration says {'.'.join(path)} {str(found)[:80]}, but only {expected} "
                "is supported"
            )


def _mapping(value: object) -> dict[Any, Any] | None:
    """The entries of a dict, or of a configuration object of yacs or omegaconf."""
    content = _state(value).get("_content")
    return content if isinstance(content, dict) else entries_of(value)


def _plain(value: object) -> object:
    """A number, text or list of them, out of omegaconf's objects; None for anything else."""
    state = _state(value)
    value = state.get("_content", state.get("_val", value))
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value[:10]]
    return value if isinstance(value, int | float | str) else None


def _state(value: object) -> dict[Any, Any]:
    return value.state if isinstance(value, StandIn) and isinstance(value.state, dict) else {}
