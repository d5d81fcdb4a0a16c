"""Data sets mixed by stated shares, drawn in an order that can be taken up anywhere."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from dualhmr.objective.objective import Objective
from dualhmr_training.batches import Batch, Sample, Share, StepStream, batch_of_samples, to_device
from dualhmr_training.data.person_dataset import Draw, PersonDataset

_BLOCK = 4096


class Partition(NamedTuple):
    """A share of all draws, and the data sets that it goes to in proportion to their sizes."""

    share: float
    names: tuple[str, ...]


def paper_partitions(*, with_3dpw: bool) -> tuple[Partition, ...]:
    """The paper's mix, with and without 3DPW's training split."""
    if with_3dpw:
        return (
            Partition(0.4, ("human36m",)),
            Partition(0.3, ("coco", "mpii")),
            Partition(0.1, ("mpi_inf_3dhp",)),
            Partition(0.2, ("threedpw",)),
        )
    return (
        Partition(0.5, ("human36m",)),
        Partition(0.3, ("coco", "mpii")),
        Partition(0.2, ("mpi_inf_3dhp",)),
    )


class Mixture(Dataset[Sample]):
    """The persons of several data sets one after the other, in the order of the partitions."""

    def __init__(
        self, datasets: Mapping[str, PersonDataset], partitions: Sequence[Partition]
    ) -> None:
        """`datasets` are those that the partitions name, each of them once.

        Raises ValueError for others, for empty ones, and for shares that are no shares of 1.
        """
        names = [name for partition in partitions for name in partition.names]
        if sorted(names) != sorted(datasets):
            raise ValueError(
                f"the partitions name {', '.join(names) or 'no data sets'}, the data sets are "
                f"{', '.join(datasets) or 'none'}; they must be the same, each of them once"
            )
        shares = [partition.share for partition in partitions]
        if not (all(share > 0 for share in shares) and math.isclose(sum(shares), 1.0)):
            raise ValueError(f"the shares are {shares}; they must be above 0 and sum to 1")
        self.partitions = tuple(partitions)
        self.names = tuple(names)
        self._parts = [datasets[name] for name in names]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        """Return the number of persons in all data sets."""
        return int(self._starts[-1])

    def __getitem__(self, which: int | Draw) -> Sample:
        """A person, as from the data set; IndexError beyond the last."""
        draw = which if isinstance(which, Draw) else Draw(which, 0)
        index = range(len(self))[draw.person]
        part = self._part(index)
        return self._parts[part][Draw(index - int(self._starts[part]), draw.number)]

    def name_of(self, index: int) -> str:
        """The data set that a person is from."""
        return self.names[self._part(range(len(self))[index])]

    def pools(self) -> list[range]:
        """The indices of each partition."""
        ends = np.cumsum([len(partition.names) for partition in self.partitions])
        stops = [0, *(int(self._starts[end]) for end in ends)]
        return [range(*pair) for pair in itertools.pairwise(stops)]

    def _part(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1


class MixtureSampler(Sampler[Draw]):
    """An order in which a `Mixture` is drawn, independently and with replacement.

    What is drawn where is a function of the seed and the position alone. So a training that was
    cut off at a position goes on from there as if it had not been, and a longer one begins like a
    shorter one.
    """

    def __init__(self, mixture: Mixture, *, draws: int, seed: int = 0, start: int = 0) -> None:
        """Positions `start` to `draws`, of which the first of all is 0."""
        if not 0 <= start <= draws:
            raise ValueError(f"start is {start}, expected 0 to the number of draws, {draws}")
        self._pools = mixture.pools()
        self._shares = np.array([partition.share for partition in mixture.partitions])
        self._mixture = mixture
        self._draws = draws
        self._seed = seed
        self._start = start

    def starting_at(self, position: int) -> "MixtureSampler":
        """The same order from `position` on: the number of draws that were already used."""
        return MixtureSampler(self._mixture, draws=self._draws, seed=self._seed, start=position)

    def __len__(self) -> int:
        """Return the number of draws that are left."""
        return self._draws - self._start

    def __iter__(self) -> Iterator[Draw]:
        """The draws; each iteration begins at the start."""
        for block in range(self._start // _BLOCK, math.ceil(self._draws / _BLOCK)):
            for number, index in enumerate(self._block(block), start=block * _BLOCK):
                if self._start <= number < self._draws:
                    yield Draw(index, number)

    def _block(self, block: int) -> list[int]:
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(block,)))
        pool = rng.choice(len(self._pools), _BLOCK, p=self._shares / self._shares.sum())
        first = np.array([pool.start for pool in self._pools])[pool]
        size = np.array([len(pool) for pool in self._pools])[pool]
        return (first + rng.integers(size)).tolist()


class MixtureBatches:
    """Batches drawn from a mixture; what a step draws depends on the seed and the step alone."""

    def __init__(
        self,
        mixture: Mixture,
        objective: Objective,
        *,
        draws: int,
        seed: int,
        workers: int,
        gendered: Sequence[Objective] = (),
    ) -> None:
        """`draws` is how many samples the whole training uses; `workers` processes load them.

        `gendered` are those of `batch_of_samples`.
        """
        self._mixture, self._objective, self._workers = mixture, objective, workers
        self._gendered = gendered
        self._order = MixtureSampler(mixture, draws=draws, seed=seed)
        self._stream = StepStream(self._opened)

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` samples of a step."""
        samples = self._stream.batch(step, Share(count, process, processes))
        on_device = to_device(samples, self._objective.body.v_template.device)
        return batch_of_samples(on_device, self._objective, self._gendered)

    def _opened(self, step: int, share: Share) -> Iterator[Sample]:
        draws = _OwnDraws(self._order.starting_at(step * share.batch), share)
        return iter(DataLoader(self._mixture, batch_sampler=draws, num_workers=self._workers))


class _OwnDraws(Sampler[list[Draw]]):
    """One process's share of the draws of every batch."""

    def __init__(self, order: MixtureSampler, share: Share) -> None:
        self._order, self._share = order, share

    def __len__(self) -> int:
        return len(self._order) // self._share.batch

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list[Draw]()
        for draw in self._order:
            draws.append(draw)
            if len(draws) == self._share.batch:
                yield draws[self._share.own]
                draws.clear()
