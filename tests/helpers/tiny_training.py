"""A training small enough for tests: stick figures, networks of a few thousand weights."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.cli import main
from dualhmr.objective.weights import LossWeights
from dualhmr_training import synthetic_training
from dualhmr_training.cli import train as command_train
from dualhmr_training.configuration import InnerLoop, OptimiserConfig, TrainingConfig
from dualhmr_training.data.synthetic.batches import SyntheticBatches
from dualhmr_training.data.synthetic.poses import PoseFile, save_poses
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import initial_networks, mean_pose_6d
from dualhmr_training.presets import keypoint_network
from dualhmr_training.synthetic_training import synthetic_objective
from helpers.stick_figure import stick_figure

TINY = TrainingConfig(
    main=keypoint_network(feature_count=16, blocks=1, hidden=16),
    auxiliary=keypoint_network(feature_count=24, blocks=1, hidden=16),
    inner=InnerLoop(learning_rate=1e-3, max_norm=1.0),
    optimiser=OptimiserConfig(warm_up_steps=5),
    batch=8,
    steps=6,
    validate_every=2,
    checkpoint_every=2,
    seed=3,
)
ORDINARY = replace(TINY, inner=InnerLoop(steps=0), weights=LossWeights(vertices=0.0))


def small_body() -> Body:
    """In float32, as it is trained."""
    return stick_figure(dtype=torch.float32)


def make_poses(clips: int = 20, each: int = 3, *, seed: int = 0) -> PoseFile:
    """Small rotations of every joint."""
    generator = torch.Generator().manual_seed(seed)
    names = tuple(f"clip_{i:02}" for i in range(clips) for _ in range(each))
    return PoseFile(0.2 * torch.randn(len(names), 24, 3, generator=generator), names)


def write_poses(path: Path, *, seed: int = 0) -> Path:
    """`make_poses` as a file."""
    poses = make_poses(seed=seed)
    save_poses(path, poses.rotvecs, poses.clips)
    return path


def networks_and_batches(config: TrainingConfig) -> tuple[DualNetworks, SyntheticBatches]:
    """What a `Trainer` of `config` takes."""
    body, pool = small_body(), make_poses().rotvecs
    objective = synthetic_objective(body, config.supervision)
    networks = initial_networks(config, objective, mean_pose=mean_pose_6d(pool))
    batches = SyntheticBatches(
        body, pool, config.population, objective, seed=config.seed, landmarks=config.landmarks
    )
    return networks, batches


def flat(module: torch.nn.Module) -> Tensor:
    """All weights of a module, one after the other."""
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


def train_command(config: TrainingConfig, folder: Path, **options: object) -> int:
    """`dualhmr train demo ...` on stick figures, with every field of `config` given.

    Trains in `folder`/out, from poses in `folder`, on few people for validation.
    """
    poses = folder / "poses.npz"
    if not poses.exists():
        write_poses(poses)
    fields = [f"--{name}={json.dumps(value)}" for name, value in asdict(config).items()]
    given = [f"--{name}={value}" for name, value in options.items()]
    with (
        mock.patch.object(command_train, "load_body", return_value=small_body()),
        mock.patch.object(synthetic_training, "VALIDATION_PEOPLE", 10),
    ):
        return main(
            ["train", "demo", *fields, f"--poses={poses}", f"--out={folder / 'out'}",
             "--device=cpu", *given]
        )  # fmt: skip
