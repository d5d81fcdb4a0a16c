"""Synthetic people to evaluate on: captured poses, each seen from a random side."""

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from dualhmr.body import Body, skin
from dualhmr.keypoints import COCO_17
from dualhmr.objective import Evidence
from dualhmr_training.evaluation.subjects import (
    AT_ONCE,
    Group,
    Seen,
    Subjects,
    Truth,
    skeleton_joints,
)
from dualhmr_training.held_out import held_out_clips
from dualhmr_training.persons import in_parts
from dualhmr_training.synthetic.appearance import Appearance
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.dice import Dice
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, read_poses
from dualhmr_training.synthetic.rendering import render_people

_COCO = slice(0, len(COCO_17))


def read_pool(path: str | os.PathLike[str], *, held_out: bool) -> Tensor:
    """The rotation vectors (M, 24, 3) of a file of captured poses; raises as `read_poses`.

    With `held_out` only those of the clips that training the default networks leaves out.
    """
    poses = read_poses(path)
    return poses.of_clips(held_out_clips(poses)) if held_out else poses.rotvecs


def synthetic_group(
    body: Body, pool: Tensor, *, noise: float, count: int, seed: int, pictures: bool
) -> Group:
    """`count` people in poses drawn from `pool` (M, 24, 3), rotation vectors, without augmentation.

    They show COCO's 17 keypoints, wherever these fall into the image, with Gaussian noise in
    fractions of the person's size, and with `pictures` crops that are drawn of them. Their camera's
    focal length is known. The same seed and count give the same people at every level of noise.
    Raises ValueError for an empty pool.
    """
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    return population_group(
        body,
        pool,
        population,
        keypoints=f"noise {noise:g}",
        count=count,
        seed=seed,
        appearance=Appearance() if pictures else None,
    )


def population_group(
    body: Body,
    pool: Tensor,
    population: Population,
    *,
    keypoints: str,
    count: int,
    seed: int,
    appearance: Appearance | None = None,
) -> Group:
    """`count` people of a population, whose COCO keypoints are given as its detector reports them.

    `keypoints` says for the report where these come from; with `appearance` there are pictures.
    People differ only as far as their keypoints do where nothing but the detector does. Raises as
    `synthetic_group` does.
    """
    people = PeopleSampler(body, pool, population, seed=seed).sample(count)
    return Group(
        keypoints=keypoints,
        keypoint_set=COCO_17,
        joints=skeleton_joints(body),
        count=count,
        batches=_batches(body, people, appearance, Dice(seed), look=population.look is not None),
    )


@torch.no_grad()
def _batches(
    body: Body, people: People, appearance: Appearance | None, dice: Dice, *, look: bool
) -> Iterator[Subjects]:
    for part in in_parts(people, AT_ONCE):
        image = None if appearance is None else render_people(body, part, appearance, dice)
        vertices, skeleton = skin(body, part.rotations, part.betas)
        yield Subjects(
            image=image,
            known=Evidence(part.detected[:, _COCO], part.confidence[:, _COCO], part.view, None),
            truth=Truth(skeleton, vertices, part.keypoints[:, _COCO]),
            seen=Seen(part.seen, part.seen_confidence) if look else None,
        )
