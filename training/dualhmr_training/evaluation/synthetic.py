"""Synthetic people to evaluate on: captured poses, each seen from a random side."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dualhmr.body import Body, skin
from dualhmr.bundle import Bundle
from dualhmr.camera import half_crop
from dualhmr.keypoints import COCO_17
from dualhmr_training.evaluation.subjects import ComparedJoints, Subject, Truth
from dualhmr_training.held_out import held_out_clips
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, read_poses

FOCAL_LENGTH_PX = 1000.0
_IMAGE_SIDE = 2000
_CENTER = (1000.0, 1000.0)
_COCO = slice(0, len(COCO_17))


def read_pool(path: str | os.PathLike[str], *, held_out: bool) -> Tensor:
    """The rotation vectors (M, 24, 3) of a file of captured poses; raises as `read_poses`.

    With `held_out` only those of the clips that training the default networks leaves out.
    """
    poses = read_poses(path)
    return poses.of_clips(held_out_clips(poses)) if held_out else poses.rotvecs


def check_reads_no_image(bundle: Bundle) -> None:
    """Raises ValueError for networks that read the image: synthetic people have none."""
    if "image" in {*bundle.manifest.main.reads, *bundle.manifest.auxiliary.reads}:
        raise ValueError(
            f"the networks of bundle {bundle.folder} read the image, and synthetic people have none"
        )


@torch.no_grad()
def synthetic_subjects(
    body: Body, pool: Tensor, joints: ComparedJoints, *, noise: float, count: int, seed: int
) -> Iterator[Subject]:
    """`count` people in poses drawn from `pool` (M, 24, 3), rotation vectors, without augmentation.

    They show COCO's 17 keypoints, wherever these fall into the image, with Gaussian noise in
    fractions of the person's size. The same seed and count give the same people at every level of
    noise. Raises ValueError for an empty pool.
    """
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    people = PeopleSampler(body, pool, population, seed=seed).sample(count)
    given = torch.cat(
        [_image_px(people, people.detected), people.confidence[:, _COCO, None]], dim=2
    )
    true_keypoints = _image_px(people, people.keypoints)
    # The networks read keypoints only; the image gives no more than its size.
    image = np.zeros((_IMAGE_SIDE, _IMAGE_SIDE, 3), np.uint8)
    for person in range(count):
        # One by one: a thousand meshes at a time would not fit every memory.
        each = slice(person, person + 1)
        vertices, skeleton = skin(body, people.rotations[each], people.betas[each])
        true_joints = joints.points.from_mesh(vertices, skeleton)
        yield Subject(
            image=image,
            keypoints=given[person].numpy(),
            keypoint_set=COCO_17,
            focal_length=FOCAL_LENGTH_PX,
            principal_point=_CENTER,
            truth=Truth(true_joints[0], vertices[0], true_keypoints[person]),
        )


def _image_px(people: People, crop_keypoints: Tensor) -> Tensor:
    """Crop coordinates (N, 23, 2) -> COCO's keypoints (N, 17, 2) in image pixels."""
    half = half_crop(people.view.box_height)[:, None]
    seen = (crop_keypoints * half + people.view.box_center[:, None])[:, _COCO]
    return seen * FOCAL_LENGTH_PX + torch.tensor(_CENTER)
