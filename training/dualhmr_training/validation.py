"""Held-out synthetic people, and the errors of networks in training on them."""

import math

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Objective
from dualhmr_training.batches import Batch, in_parts, some_of
from dualhmr_training.contact_sheet import Picture, contact_sheet
from dualhmr_training.data.synthetic.batches import batch_of_people, with_landmarks
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.detector import noise_only
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import NO_VARIATION, PoseFile, SeededRandom
from dualhmr_training.data.synthetic.rendering import render_people
from dualhmr_training.dual import DualNetworks
from dualhmr_training.evaluation.metrics import mpjpe, pa_mpjpe

HELD_OUT_CLIPS = 6


def held_out_clips(poses: PoseFile) -> set[str]:
    """Clips kept from training, to choose learning rates on: every ninth or so, by name."""
    clips = sorted(set(poses.clips))
    return set(clips[:: max(2, len(clips) // HELD_OUT_CLIPS)])


def held_out_people(body: Body, poses: PoseFile, *, count: int, noise: float) -> People:
    """People in held-out poses, whose detector is `noise_only(noise)`."""
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
    """Errors of both networks, and of the main one after the inner steps, on synthetic people."""

    def __init__(
        self,
        objective: Objective,
        people: People,
        images: Tensor | None = None,
        *,
        at_once: int = 256,
        landmarks: LandmarkErrors | None = None,
    ) -> None:
        """`people`, and their `images` for networks that read them, are on the objective's device.

        With `landmarks`, people have simulated ones. Networks run on `at_once` people at a time.
        """
        self._objective, self._people, self._at_once = objective, people, at_once
        self._batch = batch_of_people(people, objective, images)
        if landmarks is not None:
            self._batch = with_landmarks(self._batch, landmarks, seed=1002)
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
