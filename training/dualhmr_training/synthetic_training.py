"""Training on synthetic people: body, poses, objective, networks and validation put together."""

from pathlib import Path

from accelerate import Accelerator

from dualhmr.body import Body, keypoint_regressor, load_body, skeleton_regressor
from dualhmr.keypoints import BODY_23
from dualhmr.losses import LossWeights
from dualhmr.objective import Objective
from dualhmr_training.batches import SyntheticBatches, to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.held_out import held_out_clips, held_out_people
from dualhmr_training.initial import initial_networks, mean_pose_6d
from dualhmr_training.record import digest, training_record
from dualhmr_training.run import run_training
from dualhmr_training.synthetic.poses import PoseFile
from dualhmr_training.trainer import Trainer
from dualhmr_training.validation import PeopleValidation

VALIDATION_PEOPLE = 1024
VALIDATION_NOISE = 0.02


def train_on_synthetic_people(
    config: TrainingConfig,
    poses: PoseFile,
    out: Path,
    *,
    accelerator: Accelerator,
    body: Body | None = None,
) -> DualNetworks:
    """Trains on the clips of `poses` that are not held out; resumes what is in `out`.

    `body` is the free one if left out. Writes and raises as `Trainer` and `run_training` do.
    """
    body = body or load_body()
    objective = synthetic_objective(
        body.to(device=accelerator.device), config.supervision, camera=config.camera
    )
    pool = poses.of_clips(set(poses.clips) - held_out_clips(poses))
    networks = initial_networks(config, objective, mean_pose=mean_pose_6d(pool))
    batches = SyntheticBatches(body, pool, config.population, objective, seed=config.seed)
    people = held_out_people(body, poses, count=VALIDATION_PEOPLE, noise=VALIDATION_NOISE)
    return run_training(
        Trainer(config, networks, batches, accelerator=accelerator),
        out,
        record=training_record(
            config, body, poses={"count": len(poses.clips), "sha256": digest(poses.rotvecs)}
        ),
        validation=PeopleValidation(objective, to_device(people, accelerator.device)),
    )


def synthetic_objective(body: Body, weights: LossWeights, *, camera: str = "cliff") -> Objective:
    """The objective on a body's own 23 keypoints; they count among the 3D joints too."""
    keypoints = keypoint_regressor(body, BODY_23)
    return Objective(
        body,
        keypoints=keypoints,
        keypoint_count=len(BODY_23),
        camera=camera,
        weights=weights,
        joints=skeleton_regressor(body) + keypoints,
    )
