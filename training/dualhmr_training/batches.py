"""What a training step works on, whichever data set it came from."""

from typing import NamedTuple, TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.body import Body
from dualhmr.camera import box_info
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import BODY_23, BODY_25
from dualhmr.objective import Evidence, Objective
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.samples import Sample
from dualhmr_training.synthetic.people import People, PeopleSampler, Population

T = TypeVar("T")


class Batch(NamedTuple):
    """N persons. Every tensor has the person axis first."""

    inputs: dict[str, Tensor]
    """What the networks read, by name."""
    known: Evidence
    """What would be known at test time, the pseudo mesh apart: keypoints as detected."""
    truth: Evidence
    """What is to be learnt."""

    def share(self, index: int, count: int) -> "Batch":
        """Every `count`-th person from `index` on: one process's part of the batch."""
        part: Batch = pytree.tree_map_only(Tensor, lambda leaf: leaf[index::count], self)
        return part


def to_device(persons: T, device: torch.device) -> T:
    """People, a batch, or the like, with their tensors on `device`."""
    moved: T = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), persons)
    return moved


def batch_of_people(people: People, objective: Objective) -> Batch:
    """Synthetic people for networks that read keypoints."""
    keypoints = keypoints_input(people.detected, people.confidence, source=BODY_23, target=BODY_23)
    with torch.no_grad():
        target = objective.target(people.rotations, people.betas)
    return Batch(
        inputs={"keypoints": keypoints, "box_info": box_info(people.view)},
        known=Evidence(people.detected, people.confidence, people.view, None),
        truth=Evidence(people.keypoints, people.in_view.float(), people.view, target),
    )


def batch_of_samples(samples: Sample, objective: Objective) -> Batch:
    """Persons of licensed data sets, for networks that read the image.

    In training both 2D losses, the inner step's and the outer one's, compare with what the data set
    annotates; OpenPose's detections, the first 25 keypoints, do not count, as in the release.
    """
    annotated_only = samples.confidence.clone()
    annotated_only[:, : len(BODY_25)] = 0
    evidence = Evidence(samples.keypoints, annotated_only, samples.view, None)
    with torch.no_grad():
        target = objective.target(rotvec_to_rotmat(samples.rotvecs), samples.betas)
    annotated = target._replace(
        joints=samples.joints_3d,
        joints_confidence=samples.joints_3d_confidence,
        known=samples.has_mesh,
    )
    return Batch(
        inputs={"image": samples.image, "box_info": box_info(samples.view)},
        known=evidence,
        truth=evidence._replace(target=annotated),
    )


class SyntheticBatches:
    """Batches of synthetic people; the batch of a step depends on the seed and the step alone.

    So a training that is resumed goes on with the batches it would have had, and every process can
    make the whole batch and take its share.
    """

    def __init__(
        self, body: Body, pool: Tensor, population: Population, objective: Objective, *, seed: int
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from."""
        self._sampler = PeopleSampler(body, pool, population, seed=seed)
        self._objective = objective
        self._seed = seed

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        self._sampler.reseed(self._seed * 1_000_003 + step)
        people = to_device(self._sampler.sample(count), self._objective.body.v_template.device)
        return batch_of_people(people, self._objective).share(process, processes)
