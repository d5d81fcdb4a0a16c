"""People that training does not see, and how far off the networks are on them."""

import math
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from dualhmr.body.model import Body, load_body
from dualhmr.keypoints import BODY_23
from dualhmr.networks import HeadOutput, MeanParams
from dualhmr.objective.objective import Objective, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr_training.batches import Batch, in_parts, some_of, to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.contact_sheet import Picture, contact_sheet
from dualhmr_training.data.synthetic.batches import (
    SyntheticBatches,
    batch_of_people,
    rendered_batches,
)
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.detector import noise_only
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import NO_VARIATION, PoseFile, SeededRandom
from dualhmr_training.data.synthetic.rendering import render_people
from dualhmr_training.dual import DualNetworks
from dualhmr_training.evaluation.metrics import mpjpe, pa_mpjpe
from dualhmr_training.initial import InitialNetworks, initial_networks, mean_pose_6d
from dualhmr_training.run import run_training
from dualhmr_training.trainer import Batches, Trainer
from dualhmr_training.training_folder import digest, training_record

HELD_OUT_CLIPS = 6


def held_out_clips(poses: PoseFile) -> set[str]:
    """Clips kept from training, to choose learning rates on: every ninth or so, by name."""
    clips = sorted(set(poses.clips))
    return set(clips[:: max(2, len(clips) // HELD_OUT_CLIPS)])


def held_out_people(body: Body, poses: PoseFile, *, count: int, noise: float) -> People:
    """People in held-out poses, seen by `noise_only(noise)`."""
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    pool = poses.of_clips(held_out_clips(poses))
    return PeopleSampler(body, pool, population, seed=1000).sample(count)


@torch.no_grad()
def errors_mm(output: HeadOutput, objective: Objective, people: People) -> dict[str, float]:
    """Mean MPJPE and PA-MPJPE over the 24 joints, in millimetres."""
    joints = _skeleton(objective, output.rotations, output.betas)
    truth = _skeleton(objective, people.rotations, people.betas)
    return {
        "mpjpe": 1000 * mpjpe(joints, truth).mean().item(),
        "pa_mpjpe": 1000 * pa_mpjpe(joints, truth).mean().item(),
    }


def _skeleton(objective: Objective, rotations: Tensor, betas: Tensor) -> Tensor:
    return objective.target(rotations, betas).joints[:, :24]


PICTURED = 5
_RENDERED_AT_ONCE = 64


def held_out_images(body: Body, people: People, appearance: Appearance) -> Tensor:
    """Pictures (N, 256, 192, 3) of people, always the same ones. All on the CPU."""
    rng = SeededRandom(1001)
    parts = in_parts(people, _RENDERED_AT_ONCE)
    return torch.cat([render_people(body, part, appearance, rng).images for part in parts])


class PeopleValidation:
    """Of both networks, and of the main one after the inner steps, on synthetic people."""

    def __init__(
        self,
        objective: Objective,
        people: People,
        images: Tensor | None = None,
        *,
        at_once: int = 256,
    ) -> None:
        """`people`, and their `images` for networks that read them, are on the objective's device.

        Networks are given `at_once` of them at a time.
        """
        self._objective, self._people, self._at_once = objective, people, at_once
        self._batch = batch_of_people(people, objective, images)
        self._pictured = some_of(
            self._batch, slice(None, None, math.ceil(len(people.betas) / PICTURED))
        )

    def errors(self, networks: DualNetworks) -> dict[str, float]:
        """In millimetres, by `network/error`."""
        parts = [_outputs(networks, part) for part in in_parts(self._batch, self._at_once)]
        return {
            f"{network}/{name}": value
            for network in parts[0]
            for name, value in errors_mm(
                _joined([part[network] for part in parts]), self._objective, self._people
            ).items()
        }

    def picture(self, networks: DualNetworks) -> Picture:
        """Of a few people: the main network's bodies, the adapted ones, the auxiliary network's."""
        outputs = _outputs(networks, self._pictured)
        return contact_sheet(list(outputs.values()), self._objective, self._pictured)


@torch.no_grad()
def _outputs(networks: DualNetworks, batch: Batch) -> dict[str, HeadOutput]:
    outputs = {"main": networks.main(batch.inputs), "adapted": networks.adapted(batch)}
    if networks.auxiliary is not None:
        outputs["auxiliary"] = networks.auxiliary(batch.inputs)
    return outputs


def _joined(parts: list[HeadOutput]) -> HeadOutput:
    return HeadOutput(*map(torch.cat, zip(*parts, strict=True)))


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
    initial: InitialNetworks | None = None,
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
            poses={"count": len(poses.clips), "sha256": digest(poses.rotvecs)},
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
    initial: InitialNetworks | None = None,
    workers: int = 0,
) -> Trainer:
    """`train_on_synthetic_people` before its first step; `objective` is on the accelerator."""
    pool = poses.of_clips(set(poses.clips) - held_out_clips(poses))
    networks = initial_networks(
        config, objective, mean_pose=mean_pose_6d(pool), mean_params=mean_params, initial=initial
    )
    batches: Batches = (
        rendered_batches(config, body, pool, objective, workers=workers)
        if "image" in config.reads
        else SyntheticBatches(body, pool, config.population, objective, seed=config.seed)
    )
    return Trainer(config, networks, batches, accelerator=accelerator)


def _validation(
    config: TrainingConfig, body: Body, poses: PoseFile, objective: Objective
) -> PeopleValidation:
    """On held-out people, in pictures too where networks read them."""
    people = held_out_people(body, poses, count=VALIDATION_PEOPLE, noise=VALIDATION_NOISE)
    images = None
    if "image" in config.reads:
        images = held_out_images(body, people, config.appearance)
    device = objective.body.v_template.device
    return PeopleValidation(objective, *to_device((people, images), device), at_once=config.batch)


def synthetic_objective(body: Body, weights: LossWeights, *, camera: str = "cliff") -> Objective:
    """The objective on a body's own 23 keypoints; they count among the 3D joints too."""
    return own_objective(body, BODY_23.name, camera=camera, weights=weights)
