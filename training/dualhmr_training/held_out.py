"""People that training does not see, and how far off the networks are on them."""

import torch
from torch import Tensor

from dualhmr.body import Body
from dualhmr.metrics import mpjpe, pa_mpjpe
from dualhmr.networks import HeadOutput
from dualhmr.objective import Objective
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, PoseFile

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
