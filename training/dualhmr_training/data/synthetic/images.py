"""An endless data set of synthetic people and pictures of them."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dualhmr.body.model import Body
from dualhmr.objective.objective import Objective
from dualhmr_training.batches import Batch, Share, StepStream, batch_of_people, some_of, to_device
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import SeededRandom
from dualhmr_training.data.synthetic.rendering import render_people


class PicturedPeople(NamedTuple):
    """N synthetic persons and how they look."""

    people: People
    images: Tensor
    """(N, 256, 192, 3) uint8 sRGB crops."""


class SyntheticImages(IterableDataset[PicturedPeople]):
    """Batches of synthetic people with pictures, without end: `DataLoader(..., batch_size=None)`.

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
        only: slice = slice(None),
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from; `batch` persons each.

        The first batch is number `start`; `only` are the persons of each to make. `body` is on the
        CPU. Raises ValueError for a batch of nobody, or a negative seed or start.
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
            of_people, of_pictures = (seeds >> np.uint64(1)).tolist()
            sampler.reseed(of_people)
            people, rng = sampler.sample(self._batch), SeededRandom(of_pictures)
            crops = render_people(self._body, people, self._appearance, rng, only=self._only)
            yield PicturedPeople(some_of(people, self._only), crops.images)


class RenderedBatches:
    """The batch of a step depends on the seed and the step alone; it holds all inputs there are.

    Of a batch that several processes share each renders its own people.
    """

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

        `workers` processes render, or this one where there are none.
        """
        self._people = (body, pool, config.population, config.appearance)
        self._objective, self._seed, self._workers = objective, config.seed, workers
        self._stream = StepStream(self._opened)

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        pictured = self._stream.batch(step, Share(count, process, processes))
        people, images = to_device(pictured, self._objective.body.v_template.device)
        return batch_of_people(people, self._objective, images)

    def _opened(self, step: int, share: Share) -> Iterator[PicturedPeople]:
        images = SyntheticImages(
            *self._people, seed=self._seed, batch=share.batch, start=step, only=share.own
        )
        return iter(DataLoader(images, batch_size=None, num_workers=self._workers))
