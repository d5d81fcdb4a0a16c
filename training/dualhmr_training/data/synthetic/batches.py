"""Training batches of synthetic people, with and without images.

The batch of a step depends on the seed and the step alone. A resumed training therefore continues
with the batches that it would have had, and processes agree on a batch without communication.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dualhmr.body.model import Body
from dualhmr.camera import box_info
from dualhmr.keypoints import BODY_23
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.person import keypoints_input
from dualhmr_training.batches import Batch, Share, StepStream, some_of, to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.degradations import Appearance
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


class SyntheticBatches:
    """Batches without images. Every process samples the whole batch and keeps its share."""

    def __init__(
        self, body: Body, pool: Tensor, population: Population, objective: Objective, *, seed: int
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from."""
        self._sampler = PeopleSampler(body, pool, population, seed=seed)
        self._objective = objective
        self._seed = seed

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        # The factor keeps the steps of neighbouring seeds apart: trainings have fewer steps.
        self._sampler.reseed(self._seed * 1_000_003 + step)
        people = to_device(self._sampler.sample(count), self._objective.body.v_template.device)
        return some_of(
            batch_of_people(people, self._objective), Share(count, process, processes).own
        )


class PicturedPeople(NamedTuple):
    """N synthetic persons and images of them."""

    people: People
    images: Tensor
    """(N, 256, 192, 3) uint8 sRGB crops."""


class SyntheticImages(IterableDataset[PicturedPeople]):
    """An endless sequence of batches with images, for `DataLoader(..., batch_size=None)`.

    A batch depends on the seed and its number alone. Of W workers of a loader each makes every
    W-th batch, so the sequence does not depend on the number of workers.
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
        only: slice = slice(None),
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from; `body` is on the CPU.

        A batch has `batch` persons, of which those in `only` are rendered and returned; the first
        batch is number `start`. Raises ValueError for an empty batch, or a negative seed or start.
        """
        if batch < 1 or seed < 0 or start < 0:
            raise ValueError(
                f"batch {batch}, seed {seed}, start {start}; expected at least 1, 0 and 0"
            )
        self._body = body
        self._pool = pool
        self._population = population or Population()
        self._appearance = appearance or Appearance()
        self._seed = seed
        self._batch = batch
        self._start = start
        self._only = only

    def __iter__(self) -> Iterator[PicturedPeople]:
        """The batches, or those of this worker of a loader."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        sampler = PeopleSampler(self._body, self._pool, self._population, seed=self._seed)
        for number in itertools.count(self._start + first, step):
            seeds = np.random.SeedSequence([self._seed, number]).generate_state(2, np.uint64)
            # Shifted so that the seeds fit into signed 64-bit integers.
            of_people, of_images = (seeds >> np.uint64(1)).tolist()
            sampler.reseed(of_people)
            people, rng = sampler.sample(self._batch), SeededRandom(of_images)
            crops = render_people(self._body, people, self._appearance, rng, only=self._only)
            yield PicturedPeople(some_of(people, self._only), crops.images)


class RenderedBatches:
    """Batches with images. Every process renders only its share, in `workers` processes."""

    def __init__(
        self,
        config: TrainingConfig,
        body: Body,
        pool: Tensor,
        objective: Objective,
        *,
        workers: int,
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from; `body` is on the CPU.

        Without `workers` this process renders.
        """
        self._people = (body, pool, config.population, config.appearance)
        self._objective, self._seed, self._workers = objective, config.seed, workers
        self._stream = StepStream(self._open_at)

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        pictured = self._stream.batch(step, Share(count, process, processes))
        people, images = to_device(pictured, self._objective.body.v_template.device)
        return batch_of_people(people, self._objective, images)

    def _open_at(self, step: int, share: Share) -> Iterator[PicturedPeople]:
        images = SyntheticImages(
            *self._people, seed=self._seed, batch=share.batch, start=step, only=share.own
        )
        return iter(DataLoader(images, batch_size=None, num_workers=self._workers))
