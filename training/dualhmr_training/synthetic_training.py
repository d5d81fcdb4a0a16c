"""Training on synthetic people: the data, the trainer, and its validation on held-out people."""

from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from dualhmr.body.model import Body, load_body
from dualhmr.keypoints import BODY_23
from dualhmr.networks import MeanParams
from dualhmr.objective.objective import Objective, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr_training.batches import to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.batches import SyntheticBatches, rendered_batches
from dualhmr_training.data.synthetic.categories import balanced
from dualhmr_training.data.synthetic.people import Population
from dualhmr_training.data.synthetic.poses import PoseFile
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import initial_networks, mean_pose_6d
from dualhmr_training.run import run_training
from dualhmr_training.trainer import Batches, Trainer
from dualhmr_training.training_folder import Networks, tensors_sha256, training_record
from dualhmr_training.validation import (
    PeopleValidation,
    held_out_clips,
    held_out_images,
    held_out_people,
)

VALIDATION_PEOPLE = 1024
VALIDATION_NOISE = 0.02


def train_on_synthetic_people(
    config: TrainingConfig,
    poses: PoseFile,
    out: Path,
    *,
    accelerator: Accelerator,
    body: Body | None = None,
    mean_params: MeanParams | None = None,
    initial: Networks | None = None,
    workers: int = 0,
) -> DualNetworks:
    """Trains on the clips of `poses` that are not held out; resumes what is in `out`.

    For networks that read the image the people are rendered, by `workers` processes besides this
    one. `body` is the free one if left out. Weights are random, and without `mean_params` heads
    begin from the mean of the poses; or both are those of `initial`. Writes and raises as
    `initial_networks`, `Trainer` and `run_training` do.
    """
    body = body or load_body()
    objective = synthetic_objective(
        body.to(device=accelerator.device), config.supervision, camera=config.camera
    )
    trainer = synthetic_trainer(
        config,
        poses,
        objective,
        accelerator=accelerator,
        body=body,
        mean_params=mean_params,
        initial=initial,
        workers=workers,
    )
    return run_training(
        trainer,
        out,
        record=training_record(
            config,
            body,
            poses={"count": len(poses.clips), "sha256": tensors_sha256(poses.rotvecs)},
            mean_params_sha256=mean_params and mean_params.sha256,
            initial_sha256=initial and initial.sha256,
        ),
        validation=_validation(config, body, poses, objective)
        if accelerator.is_main_process
        else None,
    )


def synthetic_trainer(
    config: TrainingConfig,
    poses: PoseFile,
    objective: Objective,
    *,
    accelerator: Accelerator,
    body: Body,
    mean_params: MeanParams | None = None,
    initial: Networks | None = None,
    workers: int = 0,
) -> Trainer:
    """`train_on_synthetic_people` before its first step; `objective` is on the accelerator."""
    pool = training_pool(poses, config.population)
    networks = initial_networks(
        config, objective, mean_pose=mean_pose_6d(pool), mean_params=mean_params, initial=initial
    )
    batches: Batches = (
        rendered_batches(config, body, pool, objective, workers=workers)
        if config.renders
        else SyntheticBatches(
            body,
            pool,
            config.population,
            objective,
            seed=config.seed,
            landmarks=config.landmarks,
        )
    )
    return Trainer(config, networks, batches, accelerator=accelerator)


def training_pool(poses: PoseFile, population: Population) -> Tensor:
    """Rotation vectors (M, 24, 3) to train on: no held-out clips, and balanced if asked for."""
    held_out = held_out_clips(poses)
    kept = poses.select([clip not in held_out for clip in poses.clips])
    largest = population.largest_category
    return kept.rotvecs if largest is None else balanced(kept, largest).rotvecs


def _validation(
    config: TrainingConfig, body: Body, poses: PoseFile, objective: Objective
) -> PeopleValidation:
    """On held-out people, in pictures too where networks read them."""
    people = held_out_people(body, poses, count=VALIDATION_PEOPLE, noise=VALIDATION_NOISE)
    images = None
    if config.renders:
        images = held_out_images(body, people, config.appearance)
    device = objective.body.v_template.device
    return PeopleValidation(
        objective,
        *to_device((people, images), device),
        at_once=config.batch,
        landmarks=config.landmarks,
    )


def synthetic_objective(body: Body, weights: LossWeights, *, camera: str = "cliff") -> Objective:
    """The objective on a body's own 23 keypoints; they count among the 3D joints too."""
    return own_objective(body, BODY_23.name, camera=camera, weights=weights)
