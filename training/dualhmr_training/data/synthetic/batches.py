"""Training batches of synthetic people, with and without images.

The batch of a step depends on the seed and the step alone. A resumed training therefore continues
with the batches that it would have had, and processes agree on a batch without communication.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body
from dualhmr.camera import box_info
from dualhmr.keypoints import BODY_23
from dualhmr.networks.landmark_trunk import LANDMARK_KEYPOINTS
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.person import keypoints_input
from dualhmr_training.batches import Batch, Share, StreamedBatches, some_of, to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors, simulated_landmarks
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import SeededRandom
from dualhmr_training.data.synthetic.rendering import render_people


def batch_of_people(people: People, objective: Objective, images: Tensor | None = None) -> Batch:
    """A batch of synthetic people; `images` (N, 256, 192, 3) are for networks that read them."""
    keypoints = keypoints_input(
        people.observed, people.observed_confidence, source=BODY_23, target=BODY_23
    )
    with torch.no_grad():
        target = objective.target(people.rotations, people.betas)
    inputs = {"keypoints": keypoints, "box_info": box_info(people.view)}
    return Batch(
        inputs=inputs if images is None else inputs | {"image": images},
        evidence=Evidence(people.detected, people.confidence, people.view, None),
        truth=Evidence(people.keypoints, people.in_view.float(), people.view, target),
    )


def with_landmarks(batch: Batch, errors: LandmarkErrors, *, seed: int) -> Batch:
    """A batch of synthetic people with the input `landmarks`, simulated; see `LandmarkErrors`."""
    rows, target = list(LANDMARK_KEYPOINTS), batch.truth.target
    assert target is not None
    points = target.joints[:, len(JOINT_NAMES) :][:, rows].cpu()
    keypoints = batch.truth.keypoints[:, rows].cpu()
    landmarks = simulated_landmarks(points, keypoints, errors, SeededRandom(seed))
    inputs = batch.inputs | {"landmarks": landmarks.to(target.joints.device)}
    return batch._replace(inputs=inputs)


class SyntheticBatches:
    """Batches without images. Every process samples the whole batch and keeps its share."""

    def __init__(
        self,
        body: Body,
        pool: Tensor,
        population: Population,
        objective: Objective,
        *,
        seed: int,
        landmarks: LandmarkErrors | None = None,
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from."""
        self._landmarks = landmarks
        self._sampler = PeopleSampler(body, pool, population, seed=seed)
        self._objective = objective
        self._seed = seed

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        # The factor keeps the steps of neighbouring seeds apart: trainings have fewer steps.
        seed = self._seed * 1_000_003 + step
        self._sampler.reseed(seed)
        people = to_device(self._sampler.sample(count), self._objective.body.v_template.device)
        batch = batch_of_people(people, self._objective)
        if self._landmarks is not None:
            batch = with_landmarks(batch, self._landmarks, seed=seed + _OF_LANDMARKS)
        return some_of(batch, Share(count, process, processes).own)


_OF_LANDMARKS = 1 << 40
"""Keeps the landmarks' random numbers apart from those of all people."""


class PicturedPeople(NamedTuple):
    """N synthetic persons and images of them."""

    people: People
    images: Tensor
    """(N, 256, 192, 3) uint8 sRGB crops."""


@dataclass(frozen=True, eq=False)
class SyntheticImages(IterableDataset[PicturedPeople]):
    """An endless sequence of batches with images, for `DataLoader(..., batch_size=None)`.

    A batch depends on the seed and its number alone. Of W workers of a loader each makes every
    W-th batch, so the sequence does not depend on the number of workers.
    """

    body: Body
    """On the CPU."""
    pool: Tensor
    """(M, 24, 3) rotation vectors to draw poses from."""
    population: Population = field(default_factory=Population)
    appearance: Appearance = field(default_factory=Appearance)
    seed: int = field(kw_only=True)
    batch: int = field(default=32, kw_only=True)
    """Persons in a whole batch."""
    start: int = field(default=0, kw_only=True)
    """The number of the first batch."""
    only: slice = field(default_factory=lambda: slice(None), kw_only=True)
    """The persons of each batch that are rendered and returned."""

    def __post_init__(self) -> None:
        """Raises ValueError for an empty batch, or a negative seed or start."""
        if self.batch < 1 or self.seed < 0 or self.start < 0:
            raise ValueError(
                f"batch {self.batch}, seed {self.seed}, start {self.start}; "
                "expected at least 1, 0 and 0"
            )

    def __iter__(self) -> Iterator[PicturedPeople]:
        """The batches, or those of this worker of a loader."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        sampler = PeopleSampler(self.body, self.pool, self.population, seed=self.seed)
        for number in itertools.count(self.start + first, step):
            seeds = np.random.SeedSequence([self.seed, number]).generate_state(2, np.uint64)
            # Shifted so that the seeds fit into signed 64-bit integers.
            of_people, of_images = (seeds >> np.uint64(1)).tolist()
            sampler.reseed(of_people)
            people, rng = sampler.sample(self.batch), SeededRandom(of_images)
            crops = render_people(self.body, people, self.appearance, rng, only=self.only)
            yield PicturedPeople(some_of(people, self.only), crops.images)


def rendered_batches(
    config: TrainingConfig, body: Body, pool: Tensor, objective: Objective, *, workers: int
) -> StreamedBatches[PicturedPeople]:
    """Batches with images. Every process renders only its share, in `workers` processes.

    `pool` (M, 24, 3) are the rotation vectors to draw poses from; `body` is on the CPU. Without
    `workers` this process renders.
    """

    def open_at(step: int, share: Share) -> Iterator[PicturedPeople]:
        images = SyntheticImages(
            body,
            pool,
            config.population,
            config.appearance,
            seed=config.seed,
            batch=share.batch,
            start=step,
            only=share.own,
        )
        return iter(DataLoader(images, batch_size=None, num_workers=workers))

    def to_batch(pictured: PicturedPeople) -> Batch:
        return batch_of_people(pictured.people, objective, pictured.images)

    return StreamedBatches(open_at, to_batch, objective.body.v_template.device)
