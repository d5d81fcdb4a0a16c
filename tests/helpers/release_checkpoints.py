"""Checkpoint files in the formats of the releases, with random weights; tests make them anew.

What was written is returned. Every function takes `seed`, and those that write networks `fill`:
`random_state` draws weights with which networks give moderate bodies, `flat_state` gives every
tensor a number of its own, for files of a few hundred kilobytes.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import HMR2Features, MeshRegressor, checkpoint_state
from dualhmr.rotations import rotvec_to_rotmat

State = dict[str, Tensor]
Fill = Callable[[MeshRegressor, int], State]

INITIAL = ("init_pose", "init_shape", "init_cam")
_META_HMR = {
    "resnet": (("resnet50", ""), ("resnet50", "")),
    "hrnet": (("hrnet_w48_concatenated", "backbone."), ("hrnet_w48_classification", "encoder.")),
}
_CLIFF = {"resnet": "resnet50", "hrnet": "hrnet_w48_classification"}


def random_state(network: MeshRegressor, seed: int) -> State:
    """The network's own weights, but that features stay small and bodies stand upright."""
    state = checkpoint_state(network)
    for name in state:
        if name.endswith("running_var"):
            # Residual branches add up: at full gain the features of an HRNet reach a billion.
            state[name.replace("running_var", "weight")].fill_(0.5)
    return state | mean_params(seed)


def flat_state(network: MeshRegressor, seed: int) -> State:
    """One number a tensor, stored once."""
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint_state(network).items()}
    return flat_tensors(shapes, seed)


def flat_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> State:
    """Tensors of these shapes: one number a tensor, stored once."""
    return {
        name: torch.tensor(1 + seed + number / 4096).expand(shape)
        if not name.endswith("num_batches_tracked")
        else torch.tensor(number)
        for number, (name, shape) in enumerate(shapes.items())
    }


def mean_params(seed: int = 0) -> State:
    """A start under its names in checkpoints: as SPIN's, upside down as its camera sees it."""
    generator = torch.Generator().manual_seed(seed)
    rotvecs = 0.1 * torch.randn(24, 3, generator=generator)
    rotvecs[0] = torch.tensor([torch.pi, 0.0, 0.0])
    pose = rotvec_to_rotmat(rotvecs)[:, :, :2].reshape(1, 144)
    shape = 0.1 * torch.randn(1, 10, generator=generator)
    return dict(zip(INITIAL, (pose, shape, torch.tensor([[0.9, 0.0, 0.0]])), strict=True))


def write_mean_params(path: Path, *, seed: int = 0) -> State:
    """SPIN's `smpl_mean_params.npz`."""
    start = mean_params(seed)
    pose, shape, camera = (start[name][0].numpy() for name in INITIAL)
    np.savez(path, pose=pose, shape=shape, cam=camera)
    return start


def write_meta_hmr(
    path: Path,
    backbone: str = "resnet",
    camera: str = "cliff",
    *,
    seed: int = 0,
    fill: Fill = random_state,
    **entries: Any,
) -> dict[str, State]:
    """The paper's release: `model` and `model_aux`; `entries` come beside them."""
    states = {
        role: _network_state(*layout, camera=camera, seed=seed + number, fill=fill)
        for number, (role, layout) in enumerate(
            zip(("model", "model_aux"), _META_HMR[backbone], strict=True)
        )
    }
    torch.save(states | entries, path)
    return states


def write_cliff(
    path: Path, backbone: str = "resnet", *, seed: int = 0, fill: Fill = random_state
) -> State:
    """CLIFF's release; returns the names without `module.`."""
    state = _network_state(_CLIFF[backbone], "encoder.", camera="cliff", seed=seed, fill=fill)
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return state


def write_spin(
    path: Path, *, with_start: bool = False, seed: int = 0, fill: Fill = random_state
) -> State:
    """SPIN's `hmr.pt`, with what its training leaves beside the network; in the old file format."""
    state = _network_state("resnet50", "", camera="hmr", seed=seed, fill=fill)
    kept = {name: value for name, value in state.items() if with_start or name not in INITIAL}
    optimiser = {
        "state": {0: {"step": 3, "exp_avg": torch.ones(4)}},
        "param_groups": [{"lr": 5e-5}],
    }
    content = {"model": kept, "optimizer": optimiser, "epoch": 7, "dataset_perm": None}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return kept


def hmr2_state(blocks: int, seed: int = 0) -> State:
    """HMR2.0's tensors, narrow where the network is, with a start that stands upright."""
    torch.manual_seed(seed)
    start = mean_params(seed)
    # The two columns of a rotation one after the other, not row by row.
    pose = start["init_pose"].reshape(24, 3, 2).mT.reshape(1, 144)
    features = HMR2Features(blocks=blocks)
    state = {name: tensor.detach() for name, tensor in features.state_dict().items()}
    for layer, count in (("decpose", 144), ("decshape", 10), ("deccam", 3)):
        state[f"smpl_head.{layer}.weight"] = 0.1 * torch.randn(count, features.feature_count)
        state[f"smpl_head.{layer}.weight"] /= features.feature_count**0.5
        state[f"smpl_head.{layer}.bias"] = 0.01 * torch.randn(count)
    names = ("init_body_pose", "init_betas", "init_cam")
    starts = (pose, start["init_shape"], start["init_cam"])
    return state | {f"smpl_head.{name}": tensor for name, tensor in zip(names, starts, strict=True)}


def write_hmr2(
    path: Path,
    *,
    blocks: int = 2,
    seed: int = 0,
    config: object = None,
    **changes: Tensor | None,
) -> State:
    """HMR2.0's checkpoint with what Lightning adds; `changes` replace or (None) remove tensors.

    Returns what the network is made of.
    """
    state = hmr2_state(blocks, seed)
    beside = {
        "initialized": torch.tensor(True),
        "discriminator.pose_fc.weight": torch.ones(3, 3),
        "smpl.faces": torch.arange(9),
    }
    stored = {name: each for name, each in (state | beside | changes).items() if each is not None}
    content = {
        "state_dict": OrderedDict(stored),
        "hyper_parameters": {"cfg": config},
        "pytorch-lightning_version": "1.8.1",
        "epoch": 35,
        "global_step": 1_000_000,
        "loops": {"fit_loop": {"seen": {1, 2}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4)}}}],
        "callbacks": {"ModelCheckpoint": {"dirpath": Path("logs")}},
    }
    torch.save(content, path)
    return state


def _network_state(backbone: str, prefix: str, *, camera: str, seed: int, fill: Fill) -> State:
    torch.manual_seed(seed)
    reads_box_info = camera == "cliff"
    spec = NetworkSpec(
        backbone=backbone,
        backbone_options={},
        reads=("image", "box_info") if reads_box_info else ("image",),
        hidden=1024,
        iterations=3,
        head_reads_box_info=reads_box_info,
    )
    with torch.device("cpu" if fill is random_state else "meta"):
        network = spec.build()
    network.backbone_prefix = prefix
    return fill(network, seed)
