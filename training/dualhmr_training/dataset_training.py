"""Training on the licensed data sets that users bring: the paper's own recipe."""

import math
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from dualhmr.body.model import Body
from dualhmr.keypoints import SPIN_49
from dualhmr.networks import MeanParams
from dualhmr.objective.objective import own_objective
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.augmentation import Augmentation
from dualhmr_training.data.mixture import Mixture, mixture_batches, paper_partitions
from dualhmr_training.data.person_dataset import open_dataset
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import initial_networks, upright_pose_6d
from dualhmr_training.run import run_training
from dualhmr_training.trainer import Trainer
from dualhmr_training.training_folder import Networks, body_sha256, training_record


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
    gendered_bodies: tuple[Body, Body] | tuple[()] = (),
    mean_params: MeanParams | None = None,
    initial: Networks | None = None,
    workers: int = 4,
) -> DualNetworks:
    """Trains on the paper's mix; resumes what is in `out`.

    Weights are random, and heads begin from `mean_params`, or from the rest pose, upright; or both
    are those of `initial`. `gendered_bodies` are the male and the female one, for the data sets
    whose betas are theirs. Joints that `extra_joints` of the
    bodies would add do not count without it.
    Writes and raises as `open_mixture`, `initial_networks`, `Trainer` and `run_training` do.
    """
    mixture = open_mixture(root, with_3dpw=config.with_3dpw, seed=config.seed)
    if config.epochs is not None:
        config = replace(config, steps=math.ceil(config.epochs * len(mixture) / config.batch))
    for each in gendered_bodies:
        if each.vertex_count != body.vertex_count:
            raise ValueError(
                f"the body {each.name!r} has {each.vertex_count} vertices and {body.name!r} "
                f"{body.vertex_count}; gendered bodies must be of the kind of the neutral one"
            )
    objective, *gendered = (
        own_objective(
            each.to(device=accelerator.device),
            SPIN_49,
            camera=config.camera,
            weights=config.supervision,
        )
        for each in (body, *gendered_bodies)
    )
    networks = initial_networks(
        config, objective, mean_pose=upright_pose_6d(), mean_params=mean_params, initial=initial
    )
    batches = mixture_batches(
        mixture,
        objective,
        draws=config.steps * config.batch,
        seed=config.seed,
        workers=workers,
        gendered=gendered,
    )
    return run_training(
        Trainer(config, networks, batches, accelerator=accelerator),
        out,
        record=training_record(
            config,
            body,
            datasets={"names": mixture.names, "persons": len(mixture)},
            gendered_bodies=[body_sha256(each) for each in gendered_bodies] or None,
            mean_params_sha256=mean_params and mean_params.sha256,
            initial_sha256=initial and initial.sha256,
        ),
    )
