"""An endless data set of pictures of synthetic people."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from dualhmr.body import Body, BodyPoints, pose_skeleton
from dualhmr.camera import FullCamera, View, project, project_to_crop
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import BODY_23, BODY_25
from dualhmr.rotations import rotmat_to_rotvec
from dualhmr_training.samples import Sample
from dualhmr_training.spin_joints import spin_24_regressor
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import Dice
from dualhmr_training.synthetic.rendering import Appearance, render_people

# The photographs that the crops would come from; people know them in units of their diagonal.
PHOTO_DIAGONAL_PX = 1000.0

# Crops see -1 to 1; what is farther from them than this is no evidence.
_FAR = 2.5

_NECK, _MID_HIP = BODY_25.index("neck"), BODY_25.index("mid_hip")
_SHOULDERS = [BODY_25.index(f"{side}_shoulder") for side in ("left", "right")]
_HIPS = [BODY_25.index(f"{side}_hip") for side in ("left", "right")]


class SyntheticImages(IterableDataset[Sample]):
    """Batches of pictures of synthetic people, without end: `DataLoader(..., batch_size=None)`.

    What is in a batch depends on the seed and on its number alone. Of W workers of a loader each
    makes every W-th batch, so any number of them makes the same sequence, one batch after another.
    """

    def __init__(
        self,
        body: Body,
        pool: Tensor,
        population: Population | None = None,
        appearance: Appearance | None = None,
        *,
        seed: int,
        batch: int = 32,
        start: int = 0,
        extra_joints: Tensor | None = None,
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from; `batch` persons each.

        The first batch is number `start`. `extra_joints` are those of `spin_24_regressor`. Raises
        ValueError for a batch of nobody, a negative seed or start, or joints of another body.
        """
        if batch < 1 or seed < 0 or start < 0:
            raise ValueError(
                f"batch {batch}, seed {seed}, start {start}; expected at least 1, 0 and 0"
            )
        self._body = body
        self._pool = pool
        self._population = population or Population()
        self._appearance = appearance or Appearance()
        self._joints = BodyPoints(body, spin_24_regressor(body, extra_joints))
        self._seed = seed
        self._batch = batch
        self._start = start

    def __iter__(self) -> Iterator[Sample]:
        """Batches of `batch` samples; see `people_to_samples` for what is annotated."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        sampler = PeopleSampler(self._body, self._pool, self._population, seed=self._seed)
        for number in itertools.count(self._start + first, step):
            seeds = np.random.SeedSequence([self._seed, number]).generate_state(2, np.uint64)
            of_people, of_pictures = (seeds >> np.uint64(1)).tolist()
            sampler.reseed(of_people)
            people = sampler.sample(self._batch)
            images = render_people(self._body, people, self._appearance, Dice(of_pictures))
            yield people_to_samples(self._body, people, images, self._joints)


@torch.no_grad()
def people_to_samples(body: Body, people: People, images: Tensor, joints: BodyPoints) -> Sample:
    """People and their pictures (N, 256, 192, 3) as a batch of samples.

    Of the 49 keypoints the first 25, OpenPose's, are what the detector reported, with its errors;
    the other 24 are the truth, where it lies in the photograph. `joints` are the body's `SPIN_24`;
    those that it lacks have no confidence, in 2D and in 3D.
    """
    joints_3d = joints(pose_skeleton(body, people.rotations, people.betas))
    available = joints.available.float().expand(len(images), -1)
    true = _projected(people, joints_3d)
    true[..., 2] *= available
    keypoints = torch.cat([_detected(people), true], dim=1)
    return Sample(
        image=images,
        keypoints=keypoints[..., :2],
        confidence=keypoints[..., 2],
        joints_3d=joints_3d,
        joints_3d_confidence=available.contiguous(),
        rotvecs=rotmat_to_rotvec(people.rotations),
        betas=people.betas,
        has_mesh=torch.ones(len(images), dtype=torch.bool),
        view=_in_pixels(people),
    )


def _projected(people: People, points: Tensor) -> Tensor:
    """Points (N, K, 3) of the bodies as keypoints (N, K, 3), known where the photograph shows them.

    So are those behind an occluder: annotators guess them, too.
    """
    view = people.view
    camera = FullCamera(people.translation, view.focal_length, view.principal_point)
    keypoints = project_to_crop(points, camera, view)
    shown = project(points, camera).abs() < people.half_image[:, None]
    known = (shown & (keypoints.abs() < _FAR)).all(-1, keepdim=True)
    return torch.cat([keypoints, known.float()], dim=-1)


def _detected(people: People) -> Tensor:
    """OpenPose's 25 keypoints (N, 25, 3); neck and middle of the hips are midpoints."""
    detected = keypoints_input(
        people.detected, people.confidence, source=BODY_23, target=BODY_25
    ).contiguous()
    for middle, ends in ((_NECK, _SHOULDERS), (_MID_HIP, _HIPS)):
        confidence = detected[:, ends, 2].amin(1)
        detected[:, middle, :2] = detected[:, ends, :2].mean(1) * (confidence > 0)[:, None]
        detected[:, middle, 2] = confidence
    return detected


def _in_pixels(people: People) -> View:
    """The view in pixels of the photograph, whose first pixel is the origin."""
    view = people.view
    return View(
        (view.box_center + people.half_image) * PHOTO_DIAGONAL_PX,
        view.box_height * PHOTO_DIAGONAL_PX,
        view.focal_length * PHOTO_DIAGONAL_PX,
        (view.principal_point + people.half_image) * PHOTO_DIAGONAL_PX,
    )
