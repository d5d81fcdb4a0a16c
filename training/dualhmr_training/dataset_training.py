"""Training on the licensed data sets that users bring: the paper's own recipe."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch.utils._pytree as pytree
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from dualhmr.body import Body
from dualhmr.objective import Objective
from dualhmr_training.batches import Batch, batch_of_samples
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.datasets import (
    Augmentation,
    Draw,
    Mixture,
    MixtureSampler,
    open_dataset,
    paper_partitions,
)
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import initial_networks, upright_pose_6d
from dualhmr_training.record import training_record
from dualhmr_training.run import run_training
from dualhmr_training.samples import Sample
from dualhmr_training.spin_joints import SPIN_HIPS, spin_24_regressor, spin_49_regressor
from dualhmr_training.trainer import Trainer


class MixtureBatches:
    """Batches drawn from a mixture; what a step draws depends on the seed and the step alone."""

    def __init__(
        self, mixture: Mixture, objective: Objective, *, draws: int, seed: int, workers: int
    ) -> None:
        """`draws` is how many samples the whole training uses; `workers` processes load them."""
        self._mixture, self._objective, self._workers = mixture, objective, workers
        self._order = MixtureSampler(mixture, draws=draws, seed=seed)
        self._loader: Iterator[Sample] | None = None
        self._expected: tuple[int, int, int, int] | None = None

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` samples of a step."""
        if self._loader is None or self._expected != (step, count, process, processes):
            order = self._order.starting_at(step * count)
            self._loader = iter(
                DataLoader(
                    self._mixture,
                    batch_sampler=_Share(order, count, process, processes),
                    num_workers=self._workers,
                )
            )
        self._expected = (step + 1, count, process, processes)
        samples = pytree.tree_map(self._to_device, next(self._loader))
        return batch_of_samples(samples, self._objective)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._objective.body.v_template.device, non_blocking=True)


class _Share(Sampler[list[Draw]]):
    """Of every `count` draws, every `processes`-th from number `process` on."""

    def __init__(self, order: MixtureSampler, count: int, process: int, processes: int) -> None:
        self._order, self._count = order, count
        self._own = slice(process, None, processes)

    def __len__(self) -> int:
        return len(self._order) // self._count

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list[Draw]()
        for draw in self._order:
            draws.append(draw)
            if len(draws) == self._count:
                yield draws[self._own]
                draws.clear()


def spin_objective(body: Body, extra_joints: Tensor | None, config: TrainingConfig) -> Objective:
    """The release's objective: 49 keypoints in 2D, the 24 annotated joints in 3D."""
    keypoints = spin_49_regressor(body, extra_joints)
    return Objective(
        body,
        keypoints=keypoints,
        keypoint_count=len(keypoints.names),
        camera=config.camera,
        weights=config.supervision,
        joints=spin_24_regressor(body, extra_joints),
        root=SPIN_HIPS,
    )


def open_mixture(root: Path, *, with_3dpw: bool, seed: int) -> Mixture:
    """The paper's mix of the data sets in `root`/<name>, with its augmentation and its boxes.

    Raises FileNotFoundError saying which data set lacks what, and where to get it.
    """
    partitions = paper_partitions(with_3dpw=with_3dpw)
    names = [name for partition in partitions for name in partition.names]
    datasets = {
        name: open_dataset(
            name, root / name, augmentation=Augmentation(), boxes="keypoints", seed=seed
        )
        for name in names
    }
    return Mixture(datasets, partitions)


def train_on_datasets(
    config: TrainingConfig,
    root: Path,
    out: Path,
    *,
    accelerator: Accelerator,
    body: Body,
    extra_joints: Tensor | None,
    workers: int = 4,
) -> DualNetworks:
    """Trains on the paper's mix; resumes what is in `out`.

    Writes and raises as `open_mixture`, `Trainer` and `run_training` do.
    """
    mixture = open_mixture(root, with_3dpw=config.with_3dpw, seed=config.seed)
    if config.epochs is not None:
        config = replace(config, steps=math.ceil(config.epochs * len(mixture) / config.batch))
    objective = spin_objective(body.to(device=accelerator.device), extra_joints, config)
    networks = initial_networks(config, objective, mean_pose=upright_pose_6d())
    batches = MixtureBatches(
        mixture, objective, draws=config.steps * config.batch, seed=config.seed, workers=workers
    )
    return run_training(
        Trainer(config, networks, batches, accelerator=accelerator),
        out,
        record=training_record(
            config, body, datasets={"names": mixture.names, "persons": len(mixture)}
        ),
    )
